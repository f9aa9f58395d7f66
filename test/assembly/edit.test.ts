// Unmap and protect, in every stage-1 format and page size: the descriptors afterwards, bit by bit.

import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../host/config/load.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { batchOf } from './rows.js';

const none = { pa: false, size: false, insns: false, mode: false, asid: false, vm: false };

/** A machine whose pages at the given addresses were stored to. */
function machine(paging: object, ...vas: bigint[]) {
  const config = resolveConfig({ machine: { cpuNode: [0] }, paging }, 'test');
  const topology = topologyOf(config, { cpuNode: null, cpus: 1 });
  const replayer = new Replayer({ path: 'test', columns: ['cpu', 'kind', 'va'], regions: [] }, [config], [topology]);
  replayer.feed(
    batchOf(
      vas.map((va) => ({ cpu: 0, kind: 2, va })),
      none,
    ),
  );
  const { core, lanes } = replayer;
  /** The leaf for `va`, null when it is not mapped. */
  const leaf = (va: bigint): bigint | null => {
    const out = core.allocate(5 * 16, 8);
    const steps = core.probe(lanes[0], va, 0, 0, 0, out);
    return steps > 0 ? new BigUint64Array(core.memory.buffer, out, steps * 2)[steps * 2 - 1] : null;
  };
  return { core, leaf };
}

const KB = 1024n;
const NX = 1n << 63n;
const UXN_PXN = (1n << 54n) | (1n << 53n);
const DBM = 1n << 51n;
const AP_READ_ONLY = 1n << 7n;

describe('protect', () => {
  it('x86: R/W and NX', () => {
    const { core, leaf } = machine({ format: 'x86-64' }, 0n, 4n * KB);
    const before = leaf(0n)!;
    // As installed: P, R/W, U/S, A, D.
    expect(before & 0xfffn).toBe(0x67n);
    expect(core.protect(0, 0, 0, 0, 0n, false, true)).toBeTruthy();
    expect(leaf(0n)).toBe(before & ~2n);
    core.protect(0, 0, 0, 0, 0n, false, false);
    expect(leaf(0n)).toBe((before & ~2n) | NX);
    core.protect(0, 0, 0, 0, 0n, true, true);
    expect(leaf(0n)).toBe(before);
    expect(leaf(4n * KB)! & 2n).toBe(2n);
  });

  it('Arm: AP[2] without DBM is read-only for good, UXN and PXN', () => {
    const { core, leaf } = machine({ format: 'arm64' }, 0n);
    const before = leaf(0n)!;
    core.protect(0, 0, 0, 0, 0n, false, false);
    expect(leaf(0n)).toBe((before & ~DBM) | AP_READ_ONLY | UXN_PXN);
    core.protect(0, 0, 0, 0, 0n, true, true);
    expect(leaf(0n)).toBe(before);
  });

  it('says when there is no page', () => {
    const { core } = machine({ format: 'arm64' }, 0n);
    expect(core.protect(0, 0, 0, 0, 1n << 30n, false, false)).toBeFalsy();
    expect(core.unmap(0, 0, 0, 0, 1n << 30n)).toBeFalsy();
  });
});

/** Page sizes with the bytes that one page covers; a run is one page. */
const SIZES: [paging: object, bytes: bigint][] = [
  [{ format: 'x86-64', pageSize: '4K' }, 4n * KB],
  [{ format: 'x86-64', levels: 5, pageSize: '2M' }, 2n * KB * KB],
  [{ format: 'x86-64', pageSize: '1G' }, KB * KB * KB],
  [{ format: 'arm64', pageSize: '64K' }, 64n * KB],
  [{ format: 'arm64', pageSize: '32M' }, 32n * KB * KB],
  [{ format: 'arm64', granule: '16K', pageSize: '2M' }, 2n * KB * KB],
  [{ format: 'arm64', granule: '64K', pageSize: '512M' }, 512n * KB * KB],
  [{ format: 'arm64', vaBits: 52, pageSize: '512G' }, 512n * KB * KB * KB],
];

describe('pages of every size', () => {
  it.each(SIZES)('%j: one page is mapped, protected and unmapped as a whole, the next one stays', (paging, bytes) => {
    const { core, leaf } = machine(paging, 0n, bytes);
    const inside = [0n, bytes / 2n, bytes - 1n];
    const neighbour = leaf(bytes);
    for (const va of inside) expect(leaf(va)).not.toBeNull();
    core.protect(0, 0, 0, 0, bytes / 2n, true, false);
    const never = 'granule' in paging || (paging as { format: string }).format === 'arm64' ? UXN_PXN : NX;
    for (const va of inside) expect(leaf(va)! & never).toBe(never);
    expect(leaf(bytes)).toBe(neighbour);
    core.unmap(0, 0, 0, 0, bytes - 1n);
    for (const va of inside) expect(leaf(va)).toBeNull();
    expect(leaf(bytes)).toBe(neighbour);
  });
});

describe('sizes that do not fit', () => {
  it('a smaller page mapped first keeps a larger one away: mixed sizes share an address space', () => {
    const rules = [{ from: 0, to: '0x1000', size: '4K' }];
    // 4K at 0 by the rule; the rest of its 2M by the default, which finds a table there and falls back to 4K; the next 2M is free.
    const { leaf } = machine({ format: 'x86-64', pageSize: { default: '2M', rules } }, 0n, 4n * KB, 2n * KB * KB);
    const PS = 0x80n;
    expect([leaf(0n)! & PS, leaf(4n * KB)! & PS, leaf(2n * KB * KB)! & PS]).toEqual([0n, 0n, PS]);
  });
});
