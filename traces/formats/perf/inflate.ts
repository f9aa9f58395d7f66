// Unpacks the zstd stream that the COMPRESSED records of a capture hold together: one frame over all of them, each record
// ending with a whole block.

import { Decompress } from 'fzstd';

/** fzstd 0.1 reads an offset from 32 bits of the stream of which 7 may belong to something else. */
const MAX_WINDOW_BYTES = 2 ** 25;
/** A record of at most 64 KiB that unpacks to more is damage: perf's ring buffers are smaller. */
const MAX_UNPACKED_BYTES = 2 ** 26;

/** One stream, unpacked piece by piece. */
export class Inflater {
  private plain: Uint8Array[] = [];
  private have = 0;
  private readonly unpacker = new Decompress((chunk) => {
    this.have += chunk.length;
    if (this.have > MAX_UNPACKED_BYTES) throw new Error(`more than ${MAX_UNPACKED_BYTES} bytes from one record`);
    this.plain.push(chunk.slice());
  });
  private begun = false;

  /** What a piece unpacks to. Throws Error when it is damaged. */
  push(packed: Uint8Array): Uint8Array {
    if (!this.begun) checkWindow(packed);
    this.begun = true;
    this.have = 0;
    this.plain = [];
    this.unpacker.push(packed.slice());
    return Buffer.concat(this.plain);
  }
}

/** Looks at the frame's header (RFC 8878, 3.1.1.1.2): magic, descriptor, and the window as exponent and mantissa. */
function checkWindow(packed: Uint8Array): void {
  const SINGLE_SEGMENT = 0x20;
  if (packed.length < 6 || (packed[4] & SINGLE_SEGMENT) !== 0) return;
  const bytes = 2 ** (10 + (packed[5] >> 3)) * (1 + (packed[5] & 7) / 8);
  if (bytes > MAX_WINDOW_BYTES) {
    throw new Error(
      `a window of ${bytes} bytes, which is more than can be unpacked here; record with a lower perf record -z LEVEL`,
    );
  }
}
