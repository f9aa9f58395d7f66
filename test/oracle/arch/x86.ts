// x86-64 paging and EPT (SDM vol. 3, chapter 4 and 28.3): what is a leaf, what is reserved, what is allowed.
// Left out: protection keys, EFLAGS.AC (taken as 0), reserved memory types.
import { EPT, X86 } from './encode.js';
import { x86Levels, type Level } from './geometry.js';
import { type Failure, type Tables } from './tables.js';
import { type Access, type Ept, type X86 as X86Regime } from './types.js';

const LARGE = 1n << 7n; // PS
const ADDRESS_BITS = 52n;

const bits = (high: bigint, low: bigint) => (high < low ? 0n : ((1n << (high - low + 1n)) - 1n) << low);

/** Bit 7 makes a leaf at levels 2 and 3; at level 1 it means something else. */
function kindOf(entry: bigint, { level }: Level): 'table' | 'leaf' {
  return level === 1 || (level <= 3 && (entry & LARGE) !== 0n) ? 'leaf' : 'table';
}

function targetOf(entry: bigint, { shift }: Level, kind: 'table' | 'leaf'): bigint {
  return entry & bits(ADDRESS_BITS - 1n, kind === 'leaf' ? shift : 12n);
}

/** Bits that must be 0 in both formats: addresses beyond MAXPHYADDR, and bit 7 at levels 4 and 5. */
function reservedBits({ level }: Level, maxPhysBits: number): bigint {
  return bits(ADDRESS_BITS - 1n, BigInt(maxPhysBits)) | (level >= 4 ? LARGE : 0n);
}

/** The tables that CR3 points to. */
export function x86Tables({ root, levels, maxPhysBits, wp, smep, smap, nxe }: X86Regime): Tables {
  const width = 12 + 9 * levels;

  const refused = (entries: bigint[], { kind, user }: Access) => {
    const all = entries.reduce((a, b) => a & b);
    const writable = (all & X86.RW) !== 0n;
    const userPage = (all & X86.US) !== 0n;
    const noExecute = nxe && entries.some((entry) => (entry & X86.NX) !== 0n);
    const allowed = user
      ? userPage && (kind !== 'write' || writable) && (kind !== 'fetch' || !noExecute)
      : {
          read: !(smap && userPage),
          write: !(smap && userPage) && (writable || !wp),
          fetch: !(smep && userPage) && !noExecute,
        }[kind];
    return allowed ? null : 'permission';
  };

  const code = (status: Failure, _level: number, access: Access | null) => {
    if (status === 'noncanon') return 0;
    return (
      (status === 'fault' ? 0 : 1) |
      (access?.kind === 'write' ? 2 : 0) |
      (access?.user ? 4 : 0) |
      (status === 'reserved' ? 8 : 0) |
      (access?.kind === 'fetch' && (nxe || smep) ? 16 : 0)
    );
  };

  return {
    root,
    levels: x86Levels(levels),
    outside: (va) => (BigInt.asUintN(64, BigInt.asIntN(width, va)) === va ? null : { status: 'noncanon', level: 0 }),
    kind: (entry, level) => ((entry & X86.P) === 0n ? 'none' : kindOf(entry, level)),
    target: targetOf,
    malformed: (entry, level, kind) => {
      // Bit 12 of a large leaf is PAT.
      const belowPage = kind === 'leaf' ? bits(level.shift - 1n, 13n) : 0n;
      const reserved = reservedBits(level, maxPhysBits) | belowPage | (nxe ? 0n : X86.NX);
      return (entry & reserved) !== 0n ? 'reserved' : null;
    },
    refused,
    code,
  };
}

/** Extended page tables. */
export function eptTables({ root, levels, maxPhysBits }: Ept): Tables {
  const width = BigInt(12 + 9 * levels);
  const needed = { read: EPT.R, write: EPT.W, fetch: EPT.X };
  return {
    root,
    levels: x86Levels(levels),
    outside: (address) => (address >> width === 0n ? null : { status: 'fault', level: levels }),
    kind: (entry, level) => ((entry & (EPT.R | EPT.W | EPT.X)) === 0n ? 'none' : kindOf(entry, level)),
    target: targetOf,
    malformed: (entry, level, kind) => {
      const belowPage = kind === 'leaf' ? bits(level.shift - 1n, 12n) : 0n;
      const writeOnly = (entry & (EPT.R | EPT.W)) === EPT.W;
      return writeOnly || (entry & (reservedBits(level, maxPhysBits) | belowPage)) !== 0n ? 'reserved' : null;
    },
    refused: (entries, { kind }) => (entries.every((entry) => (entry & needed[kind]) !== 0n) ? null : 'permission'),
    code: () => 0, // an EPT violation has an exit qualification instead
  };
}
