// The unit of a counter, from its dotted path (`walk.refs` -> descriptors). The headers of reports and the field
// metadata of a sweep's columns both come from here.

const UNITS: [prefix: string, unit: string][] = [
  ['access.insns', 'instructions'],
  ['access', 'rows'],
  ['tlb', 'look-ups'],
  ['walk.count', 'walks'],
  ['walk.cacheHits', 'walks'],
  ['walk.updates', 'updates'],
  ['walk.remaps', 'remaps'],
  ['walk', 'descriptors'],
  ['cache.prefetch', 'lines'],
  ['cache.llc.backInvalidated', 'lines'],
  ['cache', 'accesses'],
  ['table', 'bytes'],
  ['maintenance.bytesCopied', 'bytes'],
  ['maintenance.deferredMax', 'bytes'],
  ['maintenance.deferredByteCycles', 'byte cycles'],
  ['maintenance.blackout', 'cycles'],
  ['maintenance', 'operations'],
  ['fault', 'faults'],
  ['check', 'violations'],
  ['spe.samples', 'records'],
  ['spe.filtered', 'samples'],
  ['spe.lost', 'samples'],
  ['spe.missed', 'samples'],
  ['spe.collisions', 'samples'],
  ['spe.bytes', 'bytes'],
  ['spe.blackout', 'cycles'],
  ['spe.pinnedMax', 'bytes'],
  ['spe.kernelMax', 'bytes'],
  ['spe.copyLocal', 'bytes'],
  ['spe.copyRemote', 'bytes'],
  ['spe.pins', 'pages'],
  ['spe.unpins', 'pages'],
  ['spe.dirtyPages', 'pages'],
  ['spe.unmapped', 'pages'],
  ['spe.softReads', 'descriptors'],
  ['spe.unitRefs', 'descriptors'],
  ['spe.softWalks', 'walks'],
  ['spe.unitWalks', 'walks'],
  ['spe.readFaults', 'faults'],
  ['spe', 'events'],
  ['cycles', 'cycles'],
];

/** The unit of a counter; "count" for one that no rule names. */
export function unitOf(key: string): string {
  return UNITS.find(([prefix]) => key === prefix || key.startsWith(`${prefix}.`))?.[1] ?? 'count';
}
