// Samples as `perf mem report -D` prints them (tools/perf/builtin-mem.c, dump_raw_samples):
//   # PID, TID, IP, ADDR, [PHYS ADDR,] [DATA PAGE SIZE,] LOCAL WEIGHT, DSRC, SYMBOL
// with the separator of -x, or blanks. Addresses are 0x and hexadecimal, DSRC as in perf/dataSrc.ts. No CPU, no time.
//   6309,6309,0xffffffff81752a2a,0x563df575d5c0,0,0x1e05080021,[kernel.kallsyms]:elf_load
//    6309  6309 0xffffffff81752a2a 0x016563df575d5c0     0 0x1e05080021 [kernel.kallsyms]:elf_load
// Without -x the first line has 0x016 before its ADDR: a slip in perf's format ("0x016%" for "0x%016").

import { type Batch } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { SampleRows } from './perf/rows.js';
import { SampleSink } from './perf/sink.js';
import { firstLines, lineLists, malformed } from './perf/text.js';

const HEADER = /^# PID, TID, IP, ADDR, (PHYS ADDR, )?(DATA PAGE SIZE, )?LOCAL WEIGHT, DSRC, SYMBOL$/;
const ADVICE = 'print with: perf mem report -D -x,';

/** The pattern of lines such as `text` below this header. */
function patternOf(header: RegExpExecArray, text: string): RegExp {
  // What stands between the first two numbers and before the third field separates them all.
  const separator = /^\s*-?\d+(\S+?)-?\d+\1\s*0x/.exec(text)?.[1].replace(/[^\w\s]/g, '\\$&') ?? '\\s+';
  const fields = ['(-?\\d+)', '(-?\\d+)', '0x([0-9a-f]{1,16})', '0x([0-9a-f]{1,19})'];
  if (header[1]) fields.push('0x(?<pa>[0-9a-f]{1,16})');
  if (header[2]) fields.push('[^\\s,;|]+');
  fields.push('(?<weight>\\d{1,15})', '0x(?<dataSrc>[0-9a-f]{1,16})');
  return new RegExp(`^\\s*${fields.join(`${separator}\\s*`)}(?:${separator}|$)`);
}

async function* parse(input: Input, sink: SampleSink): AsyncGenerator<Batch> {
  let header: RegExpExecArray | null = null;
  let pattern: RegExp | null = null;
  let line = 0;
  for await (const lines of lineLists(input.chunks, input.path)) {
    for (const text of lines) {
      line++;
      const found = HEADER.exec(text);
      if (found) [header, pattern] = [found, null];
      if (text === '' || text.startsWith('#')) continue;
      if (!header) throw malformed(input.path, line, text, 'a first line "# PID, TID, IP, ADDR, ..."', ADVICE);
      pattern ??= patternOf(header, text);
      const match = pattern.exec(text);
      if (!match) throw malformed(input.path, line, text, 'the fields that the first line names', ADVICE);
      const [, , tid, ip, address] = match;
      const { pa, weight, dataSrc } = match.groups!;
      // No number of perf's begins with 0 in this place, so 016 is the slip.
      const digits = address.replace(/^016(?=.)/, '');
      if (digits.length > 16) throw malformed(input.path, line, text, 'an ADDR of at most 16 digits', ADVICE);
      const sample = {
        ip: BigInt(`0x${ip}`),
        tid: Number(tid),
        time: 0n,
        address: BigInt(`0x${digits}`),
        cpu: -1,
        weight: Number(weight),
        dataSrc: BigInt(`0x${dataSrc}`),
        pa: pa === undefined ? null : BigInt(`0x${pa}`),
      };
      sink.add(sample, null, null);
      if (sink.rows.full) yield* sink.rows.take();
    }
  }
  sink.finish(input.path);
  if (sink.rows.count > 0) yield* sink.rows.take();
}

export const perfMem: TraceFormat = {
  name: 'perf-mem',
  description: 'text of perf mem report -D',
  addresses: 'virtual, and physical where printed; kernel and user',
  options: { fetch: 'true: a fetch row for the instruction of every sample' },
  detect: (head) => firstLines(head).some((line) => HEADER.test(line)),
  async parse(input, settings) {
    const sink = new SampleSink(settings);
    return {
      columns: SampleRows.COLUMNS,
      batches: parse(input, sink),
      metadata: () => ({
        source: { tool: 'perf mem report -D', command: null, input: [] },
        counts: sink.tally.told(),
        notes: sink.notes(),
      }),
    };
  },
};
