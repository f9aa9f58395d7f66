// The page-size policy: which pages may hold a VA that is mapped on demand, the largest first.
import { bytesOf, type Format, type Leaf } from './format.js';
import { type PagePolicy, type PageSize, type TraceContext } from './types.js';

interface Bound {
  from: bigint;
  to: bigint;
  size: PageSize;
}

const END_OF_SPACE = 1n << 64n;

function boundsOf(policy: PagePolicy, regions: TraceContext['regions']): Bound[] {
  const rules = policy.rules.flatMap(({ region, from, to, size }) =>
    region === undefined
      ? [{ from: BigInt(from ?? 0), to: to === undefined ? END_OF_SPACE : BigInt(to), size }]
      : regions.filter(({ name }) => name === region).map(({ va, bytes }) => ({ from: va, to: va + bytes, size })),
  );
  return [...rules, { from: 0n, to: END_OF_SPACE, size: policy.default }];
}

/** Chooses page sizes for one policy, format and set of named regions. */
export class PageSizes {
  private readonly bounds: Bound[];

  constructor(
    policy: PagePolicy,
    regions: TraceContext['regions'],
    private readonly format: Format,
  ) {
    this.bounds = boundsOf(policy, regions);
  }

  /**
   * The pages that are not above the policy's size and inside its region; the base page always is one. A contiguous run is one only
   * where the policy names its size.
   */
  leaves(va: bigint): Leaf[] {
    const { from, to, size } = this.bounds.find((bound) => bound.from <= va && va < bound.to)!;
    return this.format.leaves.filter(({ shift, entries }) => {
      const bytes = 1n << shift;
      const page = (va / bytes) * bytes;
      const inside = page >= from && page + bytes <= to && bytes <= bytesOf(size);
      const named = entries === 1 || bytes === bytesOf(size);
      return (inside && named) || shift === this.format.baseShift;
    });
  }
}
