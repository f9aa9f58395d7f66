// zstd without its program: fzstd, which reads one frame or several (RFC 8878), in windows up to 32 MiB.

import { Decompress } from 'fzstd';
import { InputError } from '../errors.js';
import { unpackFault } from './packed.js';

/** fzstd 0.1 reads an offset from 32 bits of the stream of which 7 may belong to something else. */
const MAX_WINDOW = 2 ** 25;
/** What is fed at once: a small piece, since all that it unpacks to is in memory. */
const FEED_BYTES = 1 << 14;

export async function* unzstd(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let plain: Uint8Array[] = [];
  const unpacker = new Decompress((chunk) => {
    // Its frame state, which has no public name.
    const { e: window } = (unpacker as unknown as { s: { e: number } }).s;
    if (window > MAX_WINDOW) {
      throw new InputError({
        source: path,
        expected: `a zstd window of at most ${MAX_WINDOW} bytes, as the zstd program is not there`,
        found: `${window}`,
        advice: 'install zstd, or unpack the file first',
      });
    }
    plain.push(chunk.slice());
  });
  try {
    for await (const chunk of packed) {
      for (let at = 0; at < chunk.length; at += FEED_BYTES) {
        unpacker.push(chunk.subarray(at, at + FEED_BYTES));
        yield* plain;
        plain = [];
      }
    }
    unpacker.push(new Uint8Array(0), true);
  } catch (error) {
    throw unpackFault(error, path, 'zstd');
  }
}
