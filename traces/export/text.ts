// Lines of text as bytes, written without making strings; a 64-bit number is its low and high word.

const ROOM = 1 << 20;
/** Longest line that is written. */
const LINE = 1024;
const WORD = 2 ** 32;

/** Text being filled, handed on in pieces. */
export class TextPiece {
  private readonly bytes = new Uint8Array(ROOM);
  private at = 0;

  /** Whether the next line may not fit. */
  get full(): boolean {
    return this.at > ROOM - LINE;
  }

  /** The text since the last call, valid until something is written. */
  take(): Uint8Array {
    const piece = this.bytes.subarray(0, this.at);
    this.at = 0;
    return piece;
  }

  char(code: number): void {
    this.bytes[this.at++] = code;
  }

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.bytes[this.at++] = text.charCodeAt(i);
  }

  /** Hexadecimal without 0x and without leading zeros. */
  hex(low: number, high: number): void {
    let started = false;
    for (let shift = 60; shift >= 0; shift -= 4) {
      const digit = shift >= 32 ? (high >>> (shift - 32)) & 15 : (low >>> shift) & 15;
      started ||= digit !== 0 || shift === 0;
      if (started) this.bytes[this.at++] = digit < 10 ? 48 + digit : 87 + digit;
    }
  }

  decimal(low: number, high = 0): void {
    this.text(high < 2 ** 21 ? String(high * WORD + low) : String((BigInt(high) << 32n) | BigInt(low)));
  }
}

/** The words of a column of 64-bit values. */
export function wordsOf({ buffer, byteOffset, length }: BigUint64Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, 2 * length);
}
