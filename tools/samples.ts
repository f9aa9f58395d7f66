// Cuts the sample traces in traces/samples out of the full captures:
//   npm run build && node dist/tools/samples.js CAPTURES [OUTPUT]
// CAPTURES is the folder with x86_4l_nokaslr/, arm64_4k_nozva/, arm64_4k_pkvm_trace/ (each trace.bin.xz, registers.json,
// stats.json, the last with its tables and stores) and lackey-sqlite.txt.zst; OUTPUT is traces/samples unless named. The same captures give the same bytes.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Batch } from '../traces/batch.js';
import { convert } from '../traces/convert.js';
import { countRows, noRows } from '../traces/counts.js';
import { PHASE_BEGIN, PHASE_END } from '../traces/events.js';
import { metadataWith } from '../traces/metadata.js';
import { TraceReader } from '../traces/reader.js';
import { writeTrace } from '../traces/writer.js';

/** Rows [from, to). */
type Range = [from: number, to: number];

interface Sample {
  name: string;
  input: string;
  /** What stays, found in the whole trace, and how that is said in the metadata. */
  keep(reader: TraceReader): Promise<Range[]>;
  filter: string;
  /** With the events that the capture's own stores tell. */
  derive?: boolean;
}

/** Phases kept whole: fork once, mount, signal. Of the others only the start: open and close, touched mappings. */
const WHOLE = [0x11, 0x17, 0x18];
const CUT = [0x14, 0x16];
const CUT_ROWS = 60_000;
/** Under a hypervisor: first touch, create VM. */
const HOST_CUT = [0x19, 0x1a];
const HOST_ROWS = 100_000;
const PROGRAM_ROWS = 1_000_000;

const kernel = {
  keep: (reader: TraceReader) => keepPhases(reader, WHOLE, CUT, CUT_ROWS),
  filter: `kept the phases fork/1, mount procfs and signal, and the first ${CUT_ROWS} rows of mmap+munmap, touched, and open+close`,
};

const SAMPLES: readonly Sample[] = [
  { name: 'x86-64-kernel', input: 'x86_4l_nokaslr/trace.bin.xz', ...kernel },
  { name: 'arm64-kernel', input: 'arm64_4k_nozva/trace.bin.xz', ...kernel },
  {
    name: 'arm64-pkvm',
    input: 'arm64_4k_pkvm_trace/trace.bin.xz',
    keep: (reader) => keepPhases(reader, [], HOST_CUT, HOST_ROWS),
    filter: `kept the first ${HOST_ROWS} rows of first touch and create VM`,
    derive: true,
  },
  {
    name: 'sqlite',
    input: 'lackey-sqlite.txt.zst',
    keep: async () => [[0, PROGRAM_ROWS]],
    filter: `kept the first ${PROGRAM_ROWS} rows`,
  },
];

/** Every chosen phase from its begin row to its end row, without the rows beyond the limit. */
async function keepPhases(
  reader: TraceReader,
  whole: readonly number[],
  cut: readonly number[],
  limit: number,
): Promise<Range[]> {
  const ranges: Range[] = [];
  let begin = 0;
  let first = 0;
  for await (const { rows, kind, va } of reader.batches()) {
    for (let i = 0; i < rows; i++) {
      if (kind[i] === PHASE_BEGIN) begin = first + i;
      if (kind[i] !== PHASE_END) continue;
      const end = first + i;
      const type = Number(va[i] >> 4n);
      if (whole.includes(type)) ranges.push([begin, end + 1]);
      else if (cut.includes(type)) ranges.push([begin, Math.min(end, begin + 1 + limit)], [end, end + 1]);
    }
    first += rows;
  }
  return ranges;
}

async function cut(sample: Sample, captures: string, output: string, folder: string): Promise<void> {
  const whole = join(folder, `${sample.name}.arrow`);
  await convert([join(captures, sample.input)], whole, { derive: sample.derive ?? false, warn: say });
  const reader = await TraceReader.open(whole);
  try {
    const ranges = await sample.keep(reader);
    const counts = noRows();
    const begun = new Set<number>();
    const kept = async function* (): AsyncGenerator<Batch> {
      for (const [from, to] of ranges) {
        for await (const batch of reader.batches({ from, to })) {
          countRows(batch, counts);
          batch.kind.forEach((kind, i) => kind === PHASE_BEGIN && begun.add(Number(batch.va[i])));
          yield batch;
        }
      }
    };
    const original = reader.metadata ?? metadataWith();
    const metadata = () => ({
      ...original,
      source: { ...original.source, origin: `captures/${sample.input}` },
      phases: original.phases.filter(({ number }) => begun.has(number)),
      filters: [...original.filters, sample.filter],
      counts,
    });
    const path = join(output, `${sample.name}.arrow`);
    const { rows, bytes } = await writeTrace(path, reader.columns, kept(), metadata, { compress: 'lz4' });
    say(`${path}: ${rows} rows, ${bytes} bytes`);
  } finally {
    await reader.close();
  }
}

function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

async function main([captures, output = join('traces', 'samples')]: string[]): Promise<void> {
  if (!captures) {
    say('usage: node dist/tools/samples.js CAPTURES [OUTPUT]');
    process.exitCode = 2;
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'nodewalk-samples-'));
  try {
    for (const sample of SAMPLES) await cut(sample, captures, output, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

await main(process.argv.slice(2));
