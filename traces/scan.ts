// Text formats, one access a line: the characters of a block of lines, taken from left to right without making strings,
// and the loop that turns lines into batches. A 64-bit number is taken as its low and high word.

import { type Batch } from './batch.js';
import { lineBlocks } from './blocks.js';
import { InputError } from './errors.js';
import { type Rows } from './rows.js';
import { shorten } from './sniff.js';

const NEWLINE = 10;
const RETURN = 13;
const TAB = 9;
const SPACE = 32;
const DIGIT_0 = 48;
const LETTER_X = 120;
const UPPER_X = 88;
const MAX_HEX_DIGITS = 16;
/** Decimal digits that a double holds exactly. */
const EXACT_DIGITS = 15;
const MAX_DECIMAL_DIGITS = 20;
const WORD = 2 ** 32;

const NOT_HEX = 255;
/** The value of a hexadecimal digit by its character code; 255 for other characters. */
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/** A place in a block of lines. What reads a number says whether there was one, and leaves it in `low` and `high`. */
export class Scanner {
  text: Uint8Array = new Uint8Array(0);
  at = 0;
  low = 0;
  high = 0;
  /** Lines begun so far, and where this one begins. */
  line = 0;
  private start = 0;

  /** Begins a block of whole lines. */
  open(text: Uint8Array): void {
    this.text = text;
    this.at = 0;
  }

  beginLine(): void {
    this.start = this.at;
    this.line++;
  }

  /** The character here, without taking it. */
  get peek(): number {
    return this.text[this.at];
  }

  /** Takes this character if it is here. */
  take(code: number): boolean {
    if (this.text[this.at] !== code) return false;
    this.at++;
    return true;
  }

  /** Takes these characters if they are here. */
  word(word: string): boolean {
    for (let i = 0; i < word.length; i++) if (this.text[this.at + i] !== word.charCodeAt(i)) return false;
    this.at += word.length;
    return true;
  }

  /** Takes blanks and tabs; whether there were any. */
  blanks(): boolean {
    const { text } = this;
    let at = this.at;
    while (text[at] === SPACE || text[at] === TAB) at++;
    const any = at > this.at;
    this.at = at;
    return any;
  }

  /** Takes a hexadecimal number of at most 64 bits, without 0x. */
  hex(): boolean {
    const { text } = this;
    let at = this.at;
    let low = 0;
    let high = 0;
    for (let digit = HEX[text[at]]; digit !== NOT_HEX; digit = HEX[text[++at]]) {
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    const digits = at - this.at;
    this.at = at;
    this.low = low >>> 0;
    this.high = high >>> 0;
    return digits > 0 && digits <= MAX_HEX_DIGITS;
  }

  /** Takes 0x and a hexadecimal number. */
  hex0x(): boolean {
    const { text, at } = this;
    if (text[at] !== DIGIT_0 || (text[at + 1] !== LETTER_X && text[at + 1] !== UPPER_X)) return false;
    this.at += 2;
    return this.hex();
  }

  /** Takes a decimal number of at most 64 bits. */
  decimal(): boolean {
    const { text } = this;
    let at = this.at;
    let value = 0;
    for (let digit = text[at] - DIGIT_0; digit >= 0 && digit <= 9; digit = text[++at] - DIGIT_0) {
      value = value * 10 + digit;
    }
    const first = this.at;
    const digits = at - first;
    this.at = at;
    if (digits === 0 || digits > MAX_DECIMAL_DIGITS) return false;
    if (digits <= EXACT_DIGITS) {
      this.low = value >>> 0;
      this.high = Math.floor(value / WORD);
      return true;
    }
    const exact = BigInt(this.slice(first, at));
    this.low = Number(exact & 0xffff_ffffn);
    this.high = Number((exact >> 32n) & 0xffff_ffffn);
    return exact >> 64n === 0n;
  }

  /** Takes a number: hexadecimal after 0x, else decimal. */
  number(): boolean {
    const second = this.text[this.at + 1];
    return this.text[this.at] === DIGIT_0 && (second === LETTER_X || second === UPPER_X)
      ? this.hex0x()
      : this.decimal();
  }

  /** The number just taken, if it lies from `min` to `max`; else -1. */
  within(min: number, max: number): number {
    return this.high === 0 && this.low >= min && this.low <= max ? this.low : -1;
  }

  /** Takes blanks and the end of the line. */
  end(): boolean {
    this.blanks();
    const newline = this.text[this.at] === RETURN ? this.at + 1 : this.at;
    if (this.text[newline] !== NEWLINE) return false;
    this.at = newline + 1;
    return true;
  }

  /** Takes the rest of the line. */
  skipLine(): true {
    this.at = this.text.indexOf(NEWLINE, this.at) + 1;
    return true;
  }

  /** This line as it stands. */
  lineText(): string {
    return this.slice(this.start, this.text.indexOf(NEWLINE, this.start)).replace(/\r$/, '');
  }

  /** Characters of the block. */
  slice(from: number, to: number): string {
    return Buffer.from(this.text.buffer, this.text.byteOffset + from, to - from).toString('latin1');
  }
}

/** How a text format reads its lines. */
export interface LineFormat {
  source: string;
  /** What a line should be, for errors. */
  expected: string;
  advice?: string;
  /** Takes one line, its end included; false when it is malformed. */
  parse(scan: Scanner, rows: Rows): boolean;
}

/** The batches of a text; empty lines are passed over. Throws InputError naming the line when one is malformed. */
export async function* parseText(
  chunks: AsyncIterable<Uint8Array>,
  rows: Rows,
  format: LineFormat,
): AsyncGenerator<Batch> {
  const scan = new Scanner();
  for await (const text of lineBlocks(chunks, format.source)) {
    scan.open(text);
    while (scan.at < text.length) {
      while (scan.at < text.length && !rows.full) {
        scan.beginLine();
        if (!scan.end() && !format.parse(scan, rows)) throw malformed(scan, format);
      }
      if (rows.full) yield* rows.take();
    }
  }
  if (rows.count > 0) yield* rows.take();
}

function malformed(scan: Scanner, { source, expected, advice }: LineFormat): InputError {
  const found = JSON.stringify(shorten(scan.lineText()));
  return new InputError({ source, at: `line ${scan.line}`, expected, found, advice });
}

/** The whole lines of a file's unpacked start, without empty ones; none where it is not text. */
export function headLines(head: Uint8Array): string[] {
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
  if (!/^[\t\n\r\x20-\x7e\x80-\xff]*$/.test(text.slice(0, 4096))) return [];
  const lines = text.split(/\r?\n/);
  // The last line may be cut; a file of one line has only that one.
  if (lines.length > 1) lines.pop();
  return lines.filter((line) => line.trim() !== '');
}

/** Whether every line so far of a file's unpacked start that `other` does not pass over looks like `line`. */
export function looksLike(head: Uint8Array, line: RegExp, other?: RegExp): boolean {
  const SAMPLE = 20;
  const lines = headLines(head).filter((text) => !other?.test(text));
  return lines.length > 0 && lines.slice(0, SAMPLE).every((text) => line.test(text));
}
