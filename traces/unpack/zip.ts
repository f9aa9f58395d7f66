// The members of a zip file, one after another, unpacked (yauzl; zlib inflates in a thread of its own). A zip is read from
// its end, where its directory is, so it has to be a file.

import { pipeline } from 'node:stream';
import { crc32, createInflateRaw } from 'node:zlib';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { readFault } from '../files.js';
import { damaged, unpackFault } from './packed.js';

/** Bytes of the local header before the name (APPNOTE.TXT, 4.3.7). */
const LOCAL_HEADER_BYTES = 30;
const STORED = 0;
const DEFLATED = 8;
const CHUNK_BYTES = 1 << 20;

/** The name of the member that a zip file starts with; undefined when the bytes are no start of a zip file. */
export function firstMember(head: Uint8Array): string | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  if (head.length < LOCAL_HEADER_BYTES || view.getUint32(0, true) !== 0x0403_4b50) return undefined;
  const name = head.subarray(LOCAL_HEADER_BYTES, LOCAL_HEADER_BYTES + view.getUint16(26, true));
  return Buffer.from(name).toString('utf8');
}

/**
 * The unpacked bytes of all members in the order of the directory. `visit` is told the name of each before its bytes, and
 * may throw; `taken` the packed bytes behind it. Throws InputError when the file is damaged.
 */
export async function* unzip(
  path: string,
  visit: (name: string) => void,
  taken: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const zip = await yauzl.openPromise(path, { autoClose: false }).catch((error: unknown) => {
    throw unpackFault(readFault(error, path, 'a zip file'), path, 'zip');
  });
  try {
    for await (const entry of zip.eachEntry()) {
      visit(entry.fileName);
      yield* member(zip, entry, path);
      taken(entry.relativeOffsetOfLocalHeader + entry.compressedSize);
    }
  } catch (error) {
    throw unpackFault(error, path, 'zip');
  } finally {
    zip.close();
  }
}

async function* member(zip: ZipFile, entry: Entry, path: string): AsyncGenerator<Uint8Array> {
  const { fileName, compressionMethod, uncompressedSize } = entry;
  if (entry.isEncrypted()) throw damaged(path, 'zip', `${fileName} encrypted`);
  if (compressionMethod !== STORED && compressionMethod !== DEFLATED) {
    throw damaged(path, 'zip', `${fileName} packed by method ${compressionMethod}`);
  }
  const packed = await zip.openReadStreamPromise(entry, { decodeFileData: false });
  // Larger pieces than the library's own: half the time.
  const plain =
    compressionMethod === STORED ? packed : pipeline(packed, createInflateRaw({ chunkSize: CHUNK_BYTES }), () => {});
  let crc = 0;
  let bytes = 0;
  for await (const chunk of plain as AsyncIterable<Buffer>) {
    crc = crc32(chunk, crc);
    bytes += chunk.length;
    if (bytes > uncompressedSize) break;
    yield chunk;
  }
  if (bytes !== uncompressedSize) throw damaged(path, 'zip', `${fileName} with another length than its directory says`);
  if (crc !== entry.crc32) throw damaged(path, 'zip', `a wrong checksum of ${fileName}`);
}
