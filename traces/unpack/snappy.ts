// snappy in its framing format (google/snappy framing_format.txt): chunks of a type, a length of three bytes and a body.
//   ff 06 00 00 "sNaPpY"      begins every stream
//   00 length crc4 block      packed      01 length crc4 bytes      as it is; at most 64 KiB each, crc of the plain bytes
//   80..fe                    may be skipped      02..7f      may not

import snappy from 'snappyjs';
import { crc32c } from './crc32c.js';
import { ByteReader, unpackFault, word } from './packed.js';

const PACKED = 0x00;
const PLAIN = 0x01;
const FIRST_SKIPPABLE = 0x80;
const IDENTIFIER = 0xff;
const NAME = 'sNaPpY';
const CRC_BYTES = 4;
const MAX_PLAIN = 1 << 16;

export async function* unsnappy(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(packed);
  try {
    for (let header = await reader.upTo(4); header.length > 0; header = await reader.upTo(4)) {
      if (header.length < 4) throw new RangeError('unexpected end of file');
      const type = header[0];
      const length = word(header) >>> 8;
      if (type === PACKED || type === PLAIN) yield chunk(type, await reader.exactly(length));
      else if (type === IDENTIFIER) {
        const name = Buffer.from(await reader.exactly(length)).toString('latin1');
        if (name !== NAME) throw new RangeError('another stream identifier');
      } else if (type >= FIRST_SKIPPABLE) await reader.skip(length);
      else throw new RangeError(`a chunk of type ${type}`);
    }
  } catch (error) {
    throw unpackFault(error, path, 'snappy');
  }
}

/** The plain bytes of a chunk of data. */
function chunk(type: number, body: Uint8Array): Uint8Array {
  if (body.length < CRC_BYTES) throw new RangeError('a chunk without its checksum');
  const data = body.subarray(CRC_BYTES);
  if (type === PLAIN && data.length > MAX_PLAIN) throw new RangeError(`a chunk of ${data.length} bytes`);
  // Only a plain Uint8Array gives a plain Uint8Array.
  const view = new Uint8Array(data.buffer, data.byteOffset, data.length);
  const plain = type === PLAIN ? view.slice() : snappy.uncompress(view, MAX_PLAIN);
  const crc = crc32c(plain);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282_ead8) >>> 0;
  if (masked !== word(body)) throw new RangeError('a wrong checksum of a chunk');
  return plain;
}
