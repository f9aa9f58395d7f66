// bzip2 without its program: unbzip2-stream, which reads one stream or several and checks every block's CRC.

import unbzip2 from 'unbzip2-stream';
import { unpackFault } from './packed.js';

/** What is fed at once: a small piece, since all that it unpacks to is in memory. */
const FEED_BYTES = 1 << 12;

export async function* bunzip2(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let plain: Uint8Array[] = [];
  let fault: unknown;
  const unpacker = unbzip2();
  unpacker.on('data', (chunk: Uint8Array) => plain.push(chunk));
  unpacker.on('error', (error: unknown) => (fault ??= error));
  const unpacked = function* () {
    if (fault !== undefined) throw unpackFault(fault, path, 'bzip2');
    yield* plain;
    plain = [];
  };
  for await (const chunk of packed) {
    for (let at = 0; at < chunk.length; at += FEED_BYTES) {
      unpacker.write(Buffer.from(chunk.subarray(at, at + FEED_BYTES)));
      yield* unpacked();
    }
  }
  unpacker.end();
  yield* unpacked();
}
