// Arm SPE packets as `perf report -D` (--dump-raw-trace) and `perf script -D` print them (tools/perf/util/arm-spe.c,
// arm_spe_dump): the record that the packets belong to, then a line per packet with its offset, bytes and meaning.
//   0x1f8 [0x30]: PERF_RECORD_AUXTRACE size: 0x80  offset: 0  ref: 0  idx: 1  tid: -1  cpu: 1
//   . ... ARM SPE data: size 0x80 bytes
//   .  00000000:  64 4d 00 00 00                                  CONTEXT 0x4d el1
// Only the bytes count. All other lines are passed over.

import { type Batch } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { noDamage, SpeDecoder, SpeRecords, type SpeDamage } from '../spe/decode.js';
import { SampleRows } from './perf/rows.js';
import { noAddresses } from './perf/settings.js';
import { SampleSink } from './perf/sink.js';
import { damageNotes, SpeRows, type SpeSource } from './perf/speRows.js';
import { firstLines, lineLists } from './perf/text.js';

const AUXTRACE = /PERF_RECORD_AUXTRACE size: .* offset: (\w+) .* idx: (\d+) +tid: (-?\d+) +cpu: (-?\d+)/;
const DATA = /^\. \.\.\. ARM SPE data: size /i;
const PACKET = /^\.\s+([0-9a-f]{8}): ((?: +[0-9a-f]{2})+)(?: |$)/;

/** One CPU's or thread's packets. */
interface Stream {
  decoder: SpeDecoder;
  source: SpeSource;
}

async function* parse(input: Input, sink: SampleSink, damage: SpeDamage): AsyncGenerator<Batch> {
  const speRows = new SpeRows(sink.rows, sink.tally, sink.fetch);
  const records = new SpeRecords();
  const streams = new Map<string, Stream>();
  const streamOf = (index: string, tid: number, cpu: number): Stream => {
    let stream = streams.get(index);
    if (stream) return stream;
    const thread = Math.max(0, tid);
    const source: SpeSource = {
      cpu: cpu >= 0 ? cpu : sink.cpuOf(thread),
      midr: undefined,
      time: 0n,
      tid: (_, context) => context || thread,
      timeOf: (timestamp) => timestamp,
    };
    streams.set(index, (stream = { decoder: new SpeDecoder(records, damage), source }));
    return stream;
  };
  let stream: Stream | null = null;
  let bytes: number[] = [];
  const decode = function* (): Generator<Batch> {
    if (!stream || bytes.length === 0) return;
    for (const decoded of stream.decoder.decode(Uint8Array.from(bytes))) {
      speRows.add(decoded, stream.source);
      if (sink.rows.full) yield* sink.rows.take();
    }
    bytes = [];
  };
  for await (const lines of lineLists(input.chunks, input.path)) {
    for (const text of lines) {
      const packet = stream && PACKET.exec(text);
      if (packet) {
        for (const byte of packet[2].trim().split(/ +/)) bytes.push(parseInt(byte, 16));
        continue;
      }
      const auxtrace = AUXTRACE.exec(text);
      if (auxtrace) {
        yield* decode();
        const [, offset, index, tid, cpu] = auxtrace;
        stream = streamOf(index, Number(tid), Number(cpu));
        const gap = stream.decoder.end - Number(offset);
        if (gap < 0 || gap > 7) stream.decoder.jump(Number(offset));
      } else if (DATA.test(text)) {
        yield* decode();
        // Packets without the record above them, as people quote them.
        stream ??= streamOf('', 0, 0);
      }
    }
    yield* decode();
  }
  for (const { decoder } of streams.values()) decoder.jump(0);
  if (sink.tally.counts.samples === 0) throw noAddresses(input.path, 'no packets of Arm SPE');
  if (sink.rows.count > 0) yield* sink.rows.take();
}

export const perfDump: TraceFormat = {
  name: 'perf-dump',
  description: 'text of perf report -D with Arm SPE packets',
  addresses: 'virtual, and physical where recorded; kernel and user',
  options: { fetch: 'true: a fetch row for the instruction of every sample' },
  detect: (head) => firstLines(head).some((line) => DATA.test(line)),
  async parse(input, settings) {
    const sink = new SampleSink(settings);
    const damage = noDamage();
    return {
      columns: SampleRows.COLUMNS,
      batches: parse(input, sink, damage),
      metadata: () => ({
        source: { tool: 'perf report -D', command: null, input: [] },
        arch: 'arm64',
        clock: 'ticks of the timer that stamps SPE records',
        counts: sink.tally.told(),
        notes: [...sink.notes(), ...damageNotes(damage)],
      }),
    };
  },
};
