// A file from its start to its end, with the next piece being read while the last one is used.

import { open } from 'node:fs/promises';

const PIECE_BYTES = 1 << 20;

/** The bytes of a file in pieces. */
export async function* readAhead(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r');
  const read = () => file.read(Buffer.allocUnsafeSlow(PIECE_BYTES), 0, PIECE_BYTES, null);
  let next = read();
  try {
    for (;;) {
      const { buffer, bytesRead } = await next;
      if (bytesRead === 0) return;
      next = read();
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    // The read that is under way has its own memory, but needs the file.
    await next.catch(() => {});
    await file.close();
  }
}
