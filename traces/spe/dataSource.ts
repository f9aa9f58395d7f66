// What the number in a data source packet means, which each core defines for itself: tables by MIDR as in
// tools/perf/util/arm-spe.c (common_ds_encoding_cpus, ampereone_ds_encoding_cpus, hisi_hip_ds_encoding_cpus). A core that
// is in none has no known meanings. Stores tell nothing on cores of the common encoding.

/** Where a load got its data. */
export type DataSource =
  | 'l1'
  | 'l2'
  | 'peer core'
  | 'local cluster'
  | 'system cache'
  | 'peer cluster'
  | 'remote chip'
  | 'dram'
  | 'remote dram'
  | 'device'
  | 'l3'
  | 'unknown';

type Encoding = Readonly<Record<number, DataSource>>;

const COMMON: Encoding = {
  0x0: 'l1',
  0x8: 'l2',
  0x9: 'peer core',
  0xa: 'local cluster',
  0xb: 'system cache',
  0xc: 'peer cluster',
  0xd: 'remote chip',
  0xe: 'dram',
};

/** 0 is a cache of this chip or a device, which perf takes for a cache. */
const AMPERE_ONE: Encoding = {
  0x0: 'peer core',
  0x3: 'system cache',
  0x5: 'remote chip',
  0x7: 'dram',
  0x8: 'l1',
  0x9: 'l2',
};

/** Odd numbers below 8 and 17: the line was modified there. */
const HISILICON_HIP: Encoding = {
  0: 'peer core',
  1: 'peer core',
  2: 'l3',
  3: 'l3',
  4: 'peer cluster',
  5: 'peer cluster',
  6: 'remote chip',
  7: 'remote chip',
  8: 'dram',
  9: 'remote dram',
  13: 'device',
  16: 'l2',
  17: 'l2',
  18: 'l1',
};

const ARM = 0x41;
const HISILICON = 0x48;
const AMPERE = 0xc0;

/** Implementer and part number of the cores that have an encoding. */
const CORES: readonly { implementer: number; part: number; name: string; encoding: Encoding }[] = [
  { implementer: ARM, part: 0xd0c, name: 'Neoverse N1', encoding: COMMON },
  { implementer: ARM, part: 0xd49, name: 'Neoverse N2', encoding: COMMON },
  { implementer: ARM, part: 0xd40, name: 'Neoverse V1', encoding: COMMON },
  { implementer: ARM, part: 0xd4f, name: 'Neoverse V2', encoding: COMMON },
  { implementer: ARM, part: 0xd81, name: 'Cortex-A720', encoding: COMMON },
  { implementer: ARM, part: 0xd89, name: 'Cortex-A720AE', encoding: COMMON },
  { implementer: ARM, part: 0xd87, name: 'Cortex-A725', encoding: COMMON },
  { implementer: ARM, part: 0xd4c, name: 'Cortex-X1C', encoding: COMMON },
  { implementer: ARM, part: 0xd4e, name: 'Cortex-X3', encoding: COMMON },
  { implementer: ARM, part: 0xd85, name: 'Cortex-X925', encoding: COMMON },
  { implementer: AMPERE, part: 0xac4, name: 'AmpereOne A', encoding: AMPERE_ONE },
  { implementer: HISILICON, part: 0xd06, name: 'HiSilicon HIP12', encoding: HISILICON_HIP },
];

function coreOf(midr: number) {
  const implementer = (midr >>> 24) & 0xff;
  const part = (midr >>> 4) & 0xfff;
  return CORES.find((core) => core.implementer === implementer && core.part === part);
}

/** Name of the core with this MIDR_EL1, where its data sources are known. */
export function coreName(midr: number): string | undefined {
  return coreOf(midr)?.name;
}

/** What a data source packet of a load means on the core with this MIDR_EL1. */
export function dataSource(midr: number | undefined, source: number): DataSource {
  return (midr === undefined ? undefined : coreOf(midr)?.encoding[source]) ?? 'unknown';
}
