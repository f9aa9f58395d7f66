// Page-table dumps made by hand, for tests: lines of Mitosis's ptdump, rows of DMT's dumper.

/** 512 entries, those that are not named empty. */
function table(entries: Record<number, string>): string {
  return Array.from({ length: 512 }, (_, i) => entries[i] ?? '0').join(' ');
}

/** A table of a snapshot of Mitosis; the dumper prints a blank after every entry. */
export function level(number: number, pfn: number, entries: Record<number, string>): string {
  return `<level${number} b="${pfn.toString(16)}">${table(entries)} </level${number}>\n`;
}

/** A snapshot of Mitosis. */
export function ptdumpOf(process: number, tables: readonly string[]): string {
  const count = `<numamigrations>0</numamigrations>\n`;
  return `<ptdump process="${process}" count="${tables.length}">\n${count}${tables.join('')}</ptdump>\n`;
}

/** Rows of DMT's dumper for pages that follow one another in memory, in the same tables. */
export function dmtPages(va: bigint, frames: readonly string[], pages: number): string {
  const leaf = Number.parseInt(frames[4], 16);
  return Array.from({ length: pages }, (_, i) => {
    const address = (va + (BigInt(i) << 12n)).toString(16).padStart(16, '0');
    return `${[address, ...frames.slice(0, 4), (leaf + i).toString(16)].join(',')}\n`;
  }).join('');
}
