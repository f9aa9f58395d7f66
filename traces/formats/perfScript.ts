// Samples as `perf script -F FIELDS` prints them (tools/perf/builtin-script.c, process_event): one line each, and the fields
// always in this order whatever the order of -F; those not asked for are left out.
//   comm, tid or pid/tid, [cpu], seconds.fraction:, period, event:, addr (with its symbol if sym is asked for), data_src,
//   weight, ip (with symbol and DSO), phys_addr, data_page_size
// Addresses are hexadecimal without 0x; data_src is its number and what it means between bars.
//     ls  6309 [000] 23255.130068: page-faults:     563df575d5c0      1e05080021 |OP N/A|LVL N/A or N/A|SNP N/A|TLB N/A|LCK N/A|BLK  N/A               0 ffffffff81752a2a               0
// Which fields there are is found out from the first line where that is certain; else --set fields says what -F said. Lines
// of a call chain, which begin with a tab, are passed over.

import { LOAD, STORE, type Batch } from '../batch.js';
import { UsageError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { SampleRows } from './perf/rows.js';
import { type Sample } from './perf/sample.js';
import { SampleSink } from './perf/sink.js';
import { firstLines, lineLists, malformed, nanoseconds } from './perf/text.js';

const HEX = '[0-9a-f]{1,16}';

/** What a line has for each field, in the order of lines. */
const PATTERNS: Readonly<Record<string, string>> = {
  comm: '\\s*\\S.{0,63}?',
  pid: '\\s+(?<pid>-?\\d+)',
  tid: '\\s+(?<tid>-?\\d+)',
  cpu: '\\s+\\[(?<cpu>\\d{1,5})\\]',
  time: '\\s+(?<seconds>\\d{1,12})\\.(?<fraction>\\d{1,9}):',
  period: '\\s+\\d+',
  event: '\\s+(?<event>\\S+):',
  addr: `\\s+(?<addr>${HEX})`,
  data_src: `\\s+(?<dataSrc>${HEX}) \\|OP [^|]*(?:\\|[^|]*)*\\|(?:BLK|LCK)\\s+(?:N/A|[A-Z][a-z]+(?: or [A-Z][a-z]+)*)?`,
  weight: '\\s+(?<weight>\\d{1,15})',
  ip: `\\s+(?<ip>${HEX})`,
  phys_addr: `\\s+(?<pa>${HEX})`,
  data_page_size: '\\s+(?:N/A|\\d+[KMG]?)',
};
/** Fields of -F that are printed as part of others or behind them. */
const WITHOUT_PATTERN = ['sym', 'dso', 'symoff', 'ip'];
const SYMBOL = '(?:\\s+\\S.*?)?';

/** The fields to ask perf for. */
const RECOMMENDED = 'comm,tid,cpu,time,event,addr,data_src,weight,ip,phys_addr,data_page_size';
const ADVICE = `print with: perf script -F ${RECOMMENDED}; or say with --set fields= what -F said`;

/** The pattern of lines with these fields. */
function patternOf(fields: ReadonlySet<string>): RegExp {
  const symbols = fields.has('sym') || fields.has('dso');
  let pattern = '^';
  for (const [field, part] of Object.entries(PATTERNS)) {
    if (!fields.has(field)) continue;
    if (field === 'tid' && fields.has('pid')) pattern += '/(?<tid>-?\\d+)';
    // The first field has no blank before it that counts.
    else pattern += pattern === '^' ? part.replace(/^\\s\+/, '\\s*') : part;
    if (symbols && (field === 'addr' || field === 'ip')) pattern += SYMBOL;
  }
  return new RegExp(`${pattern}\\s*$`);
}

/** The fields that --set fields names. */
function fieldsNamed(text: string): Set<string> {
  const fields = text.split(',').map((field) => field.trim());
  const unknown = fields.find((field) => !(field in PATTERNS) && !WITHOUT_PATTERN.includes(field));
  if (unknown === undefined && fields.includes('addr')) return new Set(fields);
  throw new UsageError(
    unknown === undefined
      ? `--set fields: expected addr among them, found "${text}"`
      : `--set fields: cannot read "${unknown}"; known are ${Object.keys(PATTERNS).join(', ')}, sym, dso`,
  );
}

/** Fields that may or may not stand after the event, the most probable first. */
const TAILS: readonly string[][] = [
  ['data_src', 'weight', 'ip', 'phys_addr', 'data_page_size'],
  ['data_src', 'weight', 'ip', 'phys_addr'],
  ['data_src', 'weight', 'ip', 'data_page_size'],
  ['data_src', 'weight', 'ip'],
  ['data_src', 'ip', 'phys_addr'],
  ['data_src', 'weight'],
  ['data_src', 'ip'],
  ['data_src'],
  ['weight', 'ip', 'phys_addr'],
  ['ip', 'phys_addr'],
  ['ip'],
];

/** Longer lines are not perf's. */
const MAX_LINE = 4096;
/** What every line has whose fields can be told: a time, an event and an address. */
const TELLING = new RegExp(`\\s\\d+\\.\\d+:\\s.*\\S:\\s+${HEX}(?:\\s|$)`);

/** The fields of a line, if they can be told. */
function fieldsOf(line: string): Set<string> | null {
  if (line.length > MAX_LINE || !TELLING.test(line)) return null;
  for (const tail of TAILS) {
    for (const symbols of [[], ['sym']]) {
      for (const thread of [['pid', 'tid'], ['tid']]) {
        for (const cpu of [['cpu'], []]) {
          for (const period of [[], ['period']]) {
            const fields = new Set([
              'comm',
              ...thread,
              ...cpu,
              'time',
              ...period,
              'event',
              'addr',
              ...tail,
              ...symbols,
            ]);
            if (patternOf(fields).test(line)) return fields;
          }
        }
      }
    }
  }
  return null;
}

/** A thread, a time and an event. */
const LOOKS = /^\s*\S.{0,63}?\s-?\d+(?:\/-?\d+)?\s+(?:\[\d+\]\s+)?\d+\.\d{6,9}:\s+(?:\d+\s+)?\S+:\s/;

const isSample = (line: string) => line !== '' && !line.startsWith('#') && !line.startsWith('\t');

async function* parse(input: Input, sink: SampleSink, fields: string | undefined): AsyncGenerator<Batch> {
  let pattern = fields === undefined ? null : patternOf(fieldsNamed(fields));
  let line = 0;
  for await (const lines of lineLists(input.chunks, input.path)) {
    for (const text of lines) {
      line++;
      if (!isSample(text)) continue;
      if (!pattern) {
        const found = fieldsOf(text);
        if (!found)
          throw malformed(input.path, line, text, 'a sample with an address (field addr) of known fields', ADVICE);
        pattern = patternOf(found);
      }
      const match = text.length > MAX_LINE ? null : pattern.exec(text);
      if (!match) throw malformed(input.path, line, text, 'a sample with the fields of the first', ADVICE);
      const { event = '', ...found } = match.groups!;
      sink.add(sampleOf(found), null, /store|[^a-z]st[^a-z]/i.test(event) ? STORE : /load/i.test(event) ? LOAD : null);
      if (sink.rows.full) yield* sink.rows.take();
    }
  }
  sink.finish(input.path);
  if (sink.rows.count > 0) yield* sink.rows.take();
}

/** What a line says, by name of the group. */
function sampleOf(found: Record<string, string | undefined>): Sample {
  const { tid, cpu, seconds, fraction, addr, dataSrc, weight, ip, pa } = found;
  const hex = (text: string | undefined) => (text === undefined ? null : BigInt(`0x${text}`));
  return {
    ip: hex(ip),
    tid: Number(tid ?? -1),
    time: seconds === undefined ? 0n : nanoseconds(seconds, fraction!),
    address: hex(addr),
    cpu: Number(cpu ?? -1),
    weight: weight === undefined ? null : Number(weight),
    dataSrc: hex(dataSrc),
    pa: hex(pa),
  };
}

export const perfScript: TraceFormat = {
  name: 'perf-script',
  description: `text of perf script -F ${RECOMMENDED}`,
  addresses: 'virtual, and physical where printed; kernel and user',
  options: {
    fields: 'what perf script -F said, where the lines do not tell',
    fetch: 'true: a fetch row for the instruction of every sample',
  },
  // Text whose fields cannot be told is refused with what to do.
  detect: (head) => LOOKS.test((firstLines(head).find(isSample) ?? '').slice(0, MAX_LINE)),
  async parse(input, settings) {
    const sink = new SampleSink(settings);
    return {
      columns: SampleRows.COLUMNS,
      batches: parse(input, sink, settings.set.fields),
      metadata: () => ({
        source: { tool: 'perf script', command: null, input: [] },
        clock: 'ns',
        counts: sink.tally.told(),
        notes: sink.notes(),
      }),
    };
  },
};
