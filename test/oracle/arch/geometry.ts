// The shape of the tables of each format: which address bits index which level. Levels are numbered as in the manuals.

/** One level: its number, log2 of the bytes that one entry covers, and how many address bits index it. */
export interface Level {
  level: number;
  shift: bigint;
  indexBits: bigint;
}

/** The index of an address in a table of this level. */
export function indexOf({ shift, indexBits }: Level, address: bigint): bigint {
  return (address >> shift) & ((1n << indexBits) - 1n);
}

/** Levels of x86-64 paging and of EPT, root first. */
export function x86Levels(count: number): Level[] {
  return Array.from({ length: count }, (_, depth) => ({
    level: count - depth,
    shift: 12n + 9n * BigInt(count - depth - 1),
    indexBits: 9n,
  }));
}

/** log2 of a granule in KiB. */
export function granuleShift(granule: 4 | 16 | 64): bigint {
  return { 4: 12n, 16: 14n, 64: 16n }[granule];
}

/** First level of Arm stage 1 with that many address bits. */
export function stage1Start(granule: 4 | 16 | 64, bits: number): number {
  const ps = Number(granuleShift(granule));
  return 4 - Math.ceil((bits - ps) / (ps - 3));
}

/** First level that KVM chooses for Arm stage 2: as few levels as 16 concatenated root tables allow, but two. */
export function kvmStart(granule: 4 | 16 | 64, bits: number): number {
  const ps = Number(granuleShift(granule));
  return 4 - Math.max(2, Math.floor((bits - 8) / (ps - 3)));
}

/** Levels of an Arm table, root first. The root takes all the bits that the others leave, be they few or many. */
export function armLevels(granule: 4 | 16 | 64, bits: number, start: number): Level[] {
  const ps = granuleShift(granule);
  return Array.from({ length: 4 - start }, (_, depth) => {
    const level = start + depth;
    const shift = ps + (ps - 3n) * BigInt(3 - level);
    return { level, shift, indexBits: depth === 0 ? BigInt(bits) - shift : ps - 3n };
  });
}

/** Levels at which Arm allows a block, without and with 52-bit descriptors; a page is at level 3. */
export function armBlockLevels(granule: 4 | 16 | 64, wide: boolean): number[] {
  const highest = (granule === 4 ? 1 : 2) - (wide ? 1 : 0);
  return [0, 1, 2].filter((level) => level >= highest);
}

/** Entries of a contiguous run at a level; 0 where the granule has none. */
export function armRunEntries(granule: 4 | 16 | 64, level: number): number {
  const runs: Record<number, Record<number, number>> = {
    4: { 3: 16, 2: 16, 1: 16 },
    16: { 3: 128, 2: 32 },
    64: { 3: 32, 2: 32 },
  };
  return runs[granule][level] ?? 0;
}
