// gzip, one member or several (RFC 1952); zlib unpacks in a thread of its own.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { unpackFault } from './packed.js';

const CHUNK_BYTES = 1 << 20;

export async function* gunzip(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const unpacker = createGunzip({ chunkSize: CHUNK_BYTES });
  const pumped = pipeline(Readable.from(packed), unpacker);
  pumped.catch(() => {}); // The iteration below reports it.
  try {
    yield* unpacker as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw unpackFault(error, path, 'gzip');
  }
}
