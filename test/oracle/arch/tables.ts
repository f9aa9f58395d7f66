// One format's tables as a walk sees them, and the walk itself: read a descriptor per level, check it, stop at the leaf or
// at the first descriptor that does not pass. What is particular to a format is in x86.ts, arm.ts and ept.ts.
import { indexOf, type Level } from './geometry.js';
import { type Access } from './types.js';

export type Failure = 'fault' | 'noncanon' | 'reserved' | 'address-size' | 'access-flag' | 'permission';

/** One format with its control bits. */
export interface Tables {
  root: bigint;
  /** Root first. */
  levels: Level[];
  /** Why and at which level an address is outside the tables; null when it is inside. */
  outside(address: bigint): { status: 'fault' | 'noncanon'; level: number } | null;
  kind(entry: bigint, level: Level): 'none' | 'table' | 'leaf';
  /** Where the next table or the page is. */
  target(entry: bigint, level: Level, kind: 'table' | 'leaf'): bigint;
  /** What is wrong with a present descriptor. */
  malformed(entry: bigint, level: Level, kind: 'table' | 'leaf'): 'reserved' | 'address-size' | null;
  /** What the descriptors from the root to the leaf refuse. */
  refused(entries: bigint[], access: Access): 'access-flag' | 'permission' | null;
  /** x86 error code or Arm fault status code. */
  code(status: Failure, level: number, access: Access | null): number;
}

/** How a walk ended. */
export interface Walk {
  status: 'ok' | Failure;
  level: number;
  pageBytes: bigint;
  /** Last descriptor read; 0 if none. */
  entry: bigint;
  /** The translated address; null unless `ok`. */
  output: bigint | null;
}

/** Reads the descriptor with an index of a table; null stops the walk. */
export type ReadEntry = (level: number, table: bigint, index: bigint) => bigint | null;

/** Walks from the root; without an access only presence decides. Null when a descriptor could not be read: `lost` has its level. */
export function walk(tables: Tables, address: bigint, access: Access | null, read: ReadEntry): Walk | { lost: number } {
  const outside = tables.outside(address);
  if (outside) return { ...outside, pageBytes: 0n, entry: 0n, output: null };

  const entries: bigint[] = [];
  let table = tables.root;
  for (const level of tables.levels) {
    const entry = read(level.level, table, indexOf(level, address));
    if (entry === null) return { lost: level.level };
    entries.push(entry);
    const stop = (status: Walk['status'], pageBytes = 0n, output: bigint | null = null): Walk => {
      return { status, level: level.level, pageBytes, entry, output };
    };

    const kind = tables.kind(entry, level);
    if (kind === 'none') return stop('fault');
    const malformed = access && tables.malformed(entry, level, kind);
    if (malformed) return stop(malformed);
    table = tables.target(entry, level, kind);
    if (kind === 'leaf') {
      const bytes = 1n << level.shift;
      const refused = access && tables.refused(entries, access);
      return refused ? stop(refused, bytes) : stop('ok', bytes, table | (address & (bytes - 1n)));
    }
  }
  throw new Error('a table at the last level'); // no format says so
}
