// Compressed bodies of Arrow record batches. Each buffer stands alone: 8 bytes with its unpacked length (-1: it is not
// packed), then an LZ4 frame or a zstd frame. Arrow format, Message.fbs, "BodyCompression".

import { CompressionType, compressionRegistry } from 'apache-arrow';
import { decompress as unpackZstd } from 'fzstd';
import lz4 from 'lz4js';

/** Bytes of the length before a compressed buffer. */
const PREFIX = 8;
/** Writers pad a buffer to a multiple of up to this before they pack it. */
const PADDING = 64;

/** The length in front of a buffer that is stored as it is. */
export const NOT_PACKED = -1n;

// apache-arrow packs and unpacks through this registry.
compressionRegistry.set(CompressionType.LZ4_FRAME, {
  encode: (bytes) => lz4.compress(bytes),
  decode: (frame) => lz4.decompress(frame),
});
compressionRegistry.set(CompressionType.ZSTD, { decode: (frame) => unpackZstd(frame) });

/**
 * Unpacks the first `length` bytes of one buffer of a compressed body. Throws RangeError when it holds fewer.
 * Only the mark -1 of the length in front is believed: apache-arrow 21 writes the packed length there.
 */
export function unpack(type: CompressionType, packed: Uint8Array, length: number): Uint8Array {
  if (packed.length < PREFIX) throw new RangeError('a compressed buffer without its length');
  const prefix = new DataView(packed.buffer, packed.byteOffset, PREFIX).getBigInt64(0, true);
  const body = packed.subarray(PREFIX);
  const bytes = prefix === NOT_PACKED ? body.slice(0, length) : unpackFrame(type, body, length + PADDING);
  if (bytes.length < length) throw new RangeError(`${bytes.length} bytes instead of ${length}`);
  return bytes.subarray(0, length);
}

/** Bytes that one packed byte can stand for: LZ4's longest match lengths, zstd's blocks of one repeated byte. */
const MAX_RATIO: Readonly<Record<number, number>> = {
  [CompressionType.LZ4_FRAME]: 255,
  [CompressionType.ZSTD]: 1 << 16,
};

function unpackFrame(type: CompressionType, frame: Uint8Array, room: number): Uint8Array {
  if (room - PADDING > frame.length * MAX_RATIO[type])
    throw new RangeError(`${frame.length} bytes for ${room - PADDING}`);
  const bytes = new Uint8Array(room);
  if (type === CompressionType.ZSTD) return unpackZstd(frame, bytes);
  checkLz4Blocks(frame);
  return bytes.subarray(0, lz4.decompressFrame(frame, bytes));
}

/** lz4js trusts the sizes in a frame; a size that leads past its end would keep it busy for seconds. */
function checkLz4Blocks(frame: Uint8Array): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const flags = view.getUint8(4);
  let at = flags & 0x08 ? 15 : 7;
  for (;;) {
    const size = view.getUint32(at, true) & 0x7fff_ffff;
    at += 4;
    if (size === 0) return;
    at += size + (flags & 0x10 ? 4 : 0);
  }
}
