// Valgrind lackey, `valgrind --tool=lackey --trace-mem=yes`, as lackey/lk_main.c prints it:
//   line   = ("I  " | " L " | " S " | " M ") ADDR "," SIZE      ADDR hexadecimal without 0x, SIZE decimal
//   other  = "SB " ADDR, also after a blank (a superblock), "==PID==..." and "--PID--..." (Valgrind's own messages): skipped
//     I  0401ab70,3
//      S 1fff000728,8
// M is a modify: a load and then a store. User addresses of one process; no threads, no time.

import { BATCH_ROWS, FETCH, LOAD, STORE, type Batch, type ColumnName } from '../batch.js';
import { lineBlocks } from '../blocks.js';
import { InputError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { LACKEY_LINE, shorten } from '../sniff.js';

const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'size'];
const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const COMMA = 44;
const DIGIT_0 = 48;
const LETTER = { I: 73, L: 76, M: 77, S: 83 };
const MAX_SIZE = 0xffff;
const MAX_DIGITS = 16;

const NOT_HEX = 255;
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

interface Tally {
  /** Lines parsed so far. */
  lines: number;
}

async function* parse(chunks: AsyncIterable<Uint8Array>, source: string): AsyncGenerator<Batch> {
  const rows = new Rows(COLUMNS);
  const tally: Tally = { lines: 0 };
  for await (const text of lineBlocks(chunks, source)) {
    for (let at = 0; at < text.length;) {
      at = parseLines(text, at, rows, tally, source);
      if (rows.full) yield* rows.take();
    }
  }
  if (rows.count > 0) yield* rows.take();
}

/** Parses whole lines from `at` until the text ends or a batch is full; returns where it stopped. */
function parseLines(text: Uint8Array, at: number, rows: Rows, tally: Tally, source: string): number {
  const { kind, vaWords, size } = rows;
  let n = rows.count;
  let { lines } = tally;
  while (at < text.length && n < BATCH_ROWS) {
    const line = at;
    lines++;
    const first = text[at];
    const second = text[at + 1];
    let row: number;
    if (text[at + 2] === SPACE && first === LETTER.I && second === SPACE) row = FETCH;
    else if (text[at + 2] === SPACE && first === SPACE && second === LETTER.L) row = LOAD;
    else if (text[at + 2] === SPACE && first === SPACE && second === LETTER.S) row = STORE;
    else if (text[at + 2] === SPACE && first === SPACE && second === LETTER.M) row = MODIFY;
    else {
      at = skipLine(text, line);
      if (at < 0) throw malformed(text, line, lines, source);
      continue;
    }
    at += 3;

    const address = at;
    let low = 0;
    let high = 0;
    for (let digit = HEX[text[at]]; digit !== NOT_HEX; digit = HEX[text[++at]]) {
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    const digits = at - address;
    if (digits === 0 || digits > MAX_DIGITS || text[at++] !== COMMA) throw malformed(text, line, lines, source);

    let bytes = 0;
    const decimal = at;
    for (let digit = text[at] - DIGIT_0; digit >= 0 && digit <= 9; digit = text[++at] - DIGIT_0) {
      bytes = bytes * 10 + digit;
    }
    if (at === decimal || bytes < 1 || bytes > MAX_SIZE) throw malformed(text, line, lines, source);
    if (text[at] === RETURN) at++;
    if (text[at++] !== NEWLINE) throw malformed(text, line, lines, source);

    kind[n] = row === MODIFY ? LOAD : row;
    vaWords[2 * n] = low;
    vaWords[2 * n + 1] = high;
    size[n++] = bytes;
    if (row === MODIFY) {
      kind[n] = STORE;
      vaWords[2 * n] = low;
      vaWords[2 * n + 1] = high;
      size[n++] = bytes;
    }
  }
  rows.count = n;
  tally.lines = lines;
  return at;
}

/** Not a kind of row: becomes a load and a store. */
const MODIFY = -1;

/** Lines without an access that lackey and Valgrind print too. */
const OTHER_LINE = /^( ?SB [0-9a-f]+\r?$|==\d+==|--\d+--)/;

/** The start of the next line if this one may be skipped, else -1. */
function skipLine(text: Uint8Array, at: number): number {
  const end = text.indexOf(NEWLINE, at);
  return OTHER_LINE.test(lineText(text, at, end)) ? end + 1 : -1;
}

function lineText(text: Uint8Array, at: number, end: number): string {
  return Buffer.from(text.buffer, text.byteOffset + at, end - at).toString('latin1');
}

function malformed(text: Uint8Array, at: number, line: number, source: string): InputError {
  return new InputError({
    source,
    at: `line ${line}`,
    expected: 'a line of lackey such as "I  0401ab70,3" or " S 1fff000728,8"',
    found: JSON.stringify(shorten(lineText(text, at, text.indexOf(NEWLINE, at)))),
    advice: "keep the program's own output apart with --log-file, or cut the line out",
  });
}

export const lackey: TraceFormat = {
  name: 'lackey',
  description: 'Valgrind lackey, --trace-mem=yes',
  addresses: 'virtual, user only',
  detect(head) {
    const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
    const lines = text.split('\n').filter((line) => line && !OTHER_LINE.test(line));
    return lines.length > 0 && LACKEY_LINE.test(lines[0]);
  },
  async parse(input) {
    return {
      columns: COLUMNS,
      batches: parse(input.chunks, input.path),
      metadata: () => ({ source: { tool: 'valgrind lackey', command: null, input: [] }, cpus: 1 }),
    };
  },
};
