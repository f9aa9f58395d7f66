// xz without its program: xz-decompress (WebAssembly), which reads one stream or several.

import { Readable } from 'node:stream';
import xz from 'xz-decompress';
import { unpackFault } from './packed.js';

export async function* unxz(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const reader = new xz.XzReadableStream(
    Readable.toWeb(Readable.from(packed)) as ReadableStream<Uint8Array>,
  ).getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } catch (error) {
    throw unpackFault(error, path, 'xz');
  } finally {
    await reader.cancel().catch(() => {});
  }
}
