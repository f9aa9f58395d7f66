// What guests have profiled, as the tools of their users read it: the SPE bytes of every CPU in one perf.data.

import { createReadStream } from 'node:fs';
import { perfDataOfSpe } from '../../traces/export/perfData.js';
import { writeBytes } from '../../traces/files.js';
import { type Config } from '../config/schema.js';
import { type CpuFile } from './streams.js';

/** MIDR_EL1 of Neoverse N1: readers know by it what the data sources of records mean. */
const NEOVERSE_N1 = 0x410f_d0c0;

/** Writes `path` of the files of SPE bytes of a replay. Timestamps are the emulator's cycles. */
export async function saveProfile(
  path: string,
  files: readonly CpuFile[],
  config: Config,
  cpus: number,
): Promise<void> {
  const streams = files.map(({ cpu, path: file, bytes }) => ({ cpu, bytes, chunks: createReadStream(file) }));
  const period = BigInt(config.system.spePeriod);
  await writeBytes(path, perfDataOfSpe(streams, { cpus, period, midr: NEOVERSE_N1, timestamps: true }));
}
