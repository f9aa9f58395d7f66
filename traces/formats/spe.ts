// Packets of Arm SPE as the profiling unit wrote them to memory (traces/spe/packets.ts), one file for each CPU:
// cpu0.bin, cpu1.bin, ... of the emulated unit, or the AUX buffer of a driver.
//     b0 00 10 08 10 00 80 ff a0  49 00  b2 00 10 00 7f 00 00 00 00  71 d0 07 00 00 00 00 00 00
//     PC 0xffff800010081000, EL1; load; VA 0x7f001000; timestamp 2000
// Nothing in the file says which CPU it is: the name does, or --set cpu.

import { basename } from 'node:path';
import { type Batch } from '../batch.js';
import { UsageError } from '../errors.js';
import { type ParseOptions, type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { HAS_OPERATION, noDamage, SpeDecoder, SpeRecords, type SpeDamage } from '../spe/decode.js';
import { noAddresses } from './perf/settings.js';
import { SampleSink } from './perf/sink.js';
import { SampleRows } from './perf/rows.js';
import { damageNotes, SpeRows, type SpeSource } from './perf/speRows.js';

const MAX_CPU = 0xffff;

function cpuOf({ set }: ParseOptions, path: string): number {
  const text = set.cpu ?? /^cpu(\d+)\b/.exec(basename(path))?.[1] ?? '0';
  if (/^\d{1,5}$/.test(text) && Number(text) <= MAX_CPU) return Number(text);
  throw new UsageError(`--set cpu: expected a number up to ${MAX_CPU}, found "${text}"`);
}

async function* parse(input: Input, sink: SampleSink, source: SpeSource, damage: SpeDamage): AsyncGenerator<Batch> {
  const decoder = new SpeDecoder(new SpeRecords(), damage);
  const speRows = new SpeRows(sink.rows, sink.tally, sink.fetch);
  for await (const chunk of input.chunks) {
    for (const records of decoder.decode(chunk)) {
      speRows.add(records, source);
      if (sink.rows.full) yield* sink.rows.take();
    }
  }
  decoder.jump(0);
  if (sink.tally.counts.samples === 0) throw noAddresses(input.path, 'no record of SPE');
  if (sink.rows.count > 0) yield* sink.rows.take();
}

export const spe: TraceFormat = {
  name: 'spe',
  description: 'Arm SPE packets as the hardware wrote them',
  addresses: 'virtual, and physical where recorded; kernel and user',
  options: {
    cpu: 'the CPU of the file, where its name does not start with cpuN',
    fetch: 'true: a fetch row for the instruction of every sample',
  },
  concurrent: true,
  detect(head) {
    const damage = noDamage();
    let operations = 0;
    for (const records of new SpeDecoder(new SpeRecords(), damage).decode(head)) {
      if (damage.faults > 0) return false;
      for (let i = 0; i < records.count; i++) operations += records.fields[i] & HAS_OPERATION;
    }
    return damage.faults === 0 && operations > 0;
  },
  async parse(input, settings) {
    const sink = new SampleSink(settings);
    const damage = noDamage();
    const cpu = cpuOf(settings, input.path);
    const source: SpeSource = {
      cpu,
      midr: undefined,
      time: 0n,
      tid: (_, context) => context ?? 0,
      timeOf: (timestamp) => timestamp,
    };
    return {
      columns: SampleRows.COLUMNS,
      batches: parse(input, sink, source, damage),
      metadata: () => ({
        source: { tool: 'Arm SPE', command: null, input: [] },
        arch: 'arm64',
        clock: 'ticks of the timer that stamps SPE records',
        counts: sink.tally.told(),
        notes: [...sink.notes(), ...damageNotes(damage)],
      }),
    };
  },
};
