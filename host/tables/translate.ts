// Bulk translation through a table image: which root an address is looked up in, in which mode, and what the answer is.

import { InputError, UsageError } from '../../traces/errors.js';
import { type Pointer } from '../core/instance.js';
import { loadPages, openImage, type TableImage } from './image.js';
import { type Regime } from './regimes.js';
import { type Roots, rootsOf } from './roots.js';
import { type Access, type Outcome, type Step, Walker } from './walker.js';

/** The checks that are on; none: a probe of addresses. */
export interface Checks {
  kind: Access['kind'];
  /** Unless given: the kernel for the upper half of the addresses and for stage 2, else the user. */
  mode?: 'user' | 'kernel';
}

/** A root that was set up in the core. */
interface LiveRoot {
  regime: Regime;
  pointer: Pointer;
}

const DEFAULT_MAX_PHYS_BITS = 52;

/** An image in the core, ready to translate. */
export class Translator {
  private readonly live = new Map<string, LiveRoot>();

  private constructor(
    readonly image: TableImage,
    private readonly roots: Roots,
    private readonly walker: Walker,
    private readonly maxPhysBits: number,
  ) {}

  /** Loads an image. Throws InputError when it is damaged. */
  static async open(folder: string, { maxPhysBits = DEFAULT_MAX_PHYS_BITS } = {}): Promise<Translator> {
    const image = await openImage(folder);
    const roots = rootsOf(image);
    if (roots.size === 0) {
      throw new InputError({
        ...{ source: folder, expected: 'a CPU whose registers point to tables', found: 'none in registers.json' },
      });
    }
    const walker = new Walker();
    loadPages(image, (page) => walker.addPage(page));
    return new Translator(image, roots, walker, maxPhysBits);
  }

  /** The names of all roots, by CPU. */
  get rootNames(): string[] {
    return [...this.roots.keys()];
  }

  /** The root to use when none is named: the only one. */
  onlyRoot(): string {
    const [name, another] = this.rootNames;
    if (another !== undefined) {
      throw new UsageError(`${this.image.folder} has several roots: name one with --root: ${this.rootNames.join(', ')}`);
    }
    return name;
  }

  /** What a root's registers say. Throws UsageError for a name that the image does not have. */
  regime(root: string): Regime {
    return this.use(root).regime;
  }

  /** Whether the image has a root of that name. */
  has(root: string): boolean {
    return this.roots.has(root);
  }

  /** Translates an address. Throws InputError when a table that it needs is not in the image. */
  translate(root: string, address: bigint, checks: Checks | null): Outcome {
    const { regime, pointer } = this.use(root);
    const access = checks && { kind: checks.kind, user: (checks.mode ?? usualMode(regime, address)) === 'user' };
    const outcome = this.walker.translate(pointer, address, access);
    if (outcome.status === 'no-memory') this.refuseMissingTable(root, address);
    return outcome;
  }

  /** The descriptors that the last translation read. */
  steps(): Step[] {
    return this.walker.steps();
  }

  private use(root: string): LiveRoot {
    let live = this.live.get(root);
    if (!live) {
      const regimeOf = this.roots.get(root);
      if (!regimeOf) {
        throw new UsageError(`${this.image.folder} has no root "${root}"; it has ${this.rootNames.join(', ')}`);
      }
      const regime = regimeOf();
      live = { regime, pointer: this.walker.addRegime(regime, this.maxPhysBits) };
      this.live.set(root, live);
    }
    return live;
  }

  private refuseMissingTable(root: string, address: bigint): never {
    const missing = this.walker.steps().at(-1);
    throw new InputError({
      source: this.image.folder,
      at: `root ${root}, address ${hex(address)}`,
      expected: `the table at PA ${hex(missing?.tablePa ?? 0n)} (stage ${missing?.stage}, level ${missing?.level})`,
      found: 'no page there in tablepages.csv',
      advice: 'the image does not hold the tables of this root',
    });
  }
}

/** The mode that an address is usually accessed in. */
export function usualMode({ stage1, x86 }: Regime, address: bigint): 'user' | 'kernel' {
  const upperHalf = x86 ? address >> 63n === 1n : stage1?.high;
  return (x86 || stage1) && !upperHalf ? 'user' : 'kernel';
}

/** An address as 0x and hexadecimal digits. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/** An address as people write it: hexadecimal with 0x, or decimal. Null when it is neither or needs more than 64 bits. */
export function parseAddress(text: string): bigint | null {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const value = BigInt(text);
  return value >> 64n === 0n ? value : null;
}
