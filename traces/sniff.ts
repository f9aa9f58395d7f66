// What a file is, judged by its first bytes and never by its name: compression, Arrow, text, or something else that
// deserves to be named in an error message.

/** Compressions that unpack/ undoes. */
export type Compression = 'gzip' | 'zstd' | 'xz' | 'bzip2' | 'lz4' | 'snappy';

const MAGICS: readonly { name: string; bytes: readonly number[]; compression?: Compression }[] = [
  { name: 'gzip', bytes: [0x1f, 0x8b], compression: 'gzip' },
  { name: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd], compression: 'zstd' },
  { name: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], compression: 'xz' },
  { name: 'bzip2', bytes: [0x42, 0x5a, 0x68], compression: 'bzip2' },
  { name: 'LZ4', bytes: [0x04, 0x22, 0x4d, 0x18], compression: 'lz4' },
  { name: 'LZ4 (legacy)', bytes: [0x02, 0x21, 0x4c, 0x18], compression: 'lz4' },
  { name: 'snappy', bytes: [0xff, 0x06, 0x00, 0x00, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59], compression: 'snappy' },
  { name: 'zip', bytes: [0x50, 0x4b, 0x03, 0x04] },
  { name: 'Parquet', bytes: [0x50, 0x41, 0x52, 0x31] },
  { name: 'Feather version 1', bytes: [0x46, 0x45, 0x41, 0x31] },
  { name: 'Arrow', bytes: [0x41, 0x52, 0x52, 0x4f, 0x57, 0x31] },
];

const magicOf = (head: Uint8Array) =>
  MAGICS.find(({ bytes }) => head.length >= bytes.length && bytes.every((byte, i) => head[i] === byte));

/** The compression that a file starts with, if unpack/ can undo it. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  return magicOf(head.subarray(skippedBytes(head)))?.compression;
}

/** Bytes of the skippable frames that may stand before a frame of zstd (pzstd writes them) or LZ4. */
function skippedBytes(head: Uint8Array): number {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  let at = 0;
  while (at + 8 <= head.length && view.getUint32(at, true) >>> 4 === 0x184d2a5) at += 8 + view.getUint32(at + 4, true);
  return at;
}

/** Whether this is the start of an Arrow IPC file. */
export function isArrowFile(head: Uint8Array): boolean {
  return magicOf(head)?.name === 'Arrow';
}

/** Lines of Valgrind lackey: "I  ADDR,SIZE", " L ADDR,SIZE", ... */
export const LACKEY_LINE = /^(I {2}| [LSM] )[0-9a-fA-F]+,\d+\r?$/;

/** What the file looks like, to be put after "found". */
export function describe(head: Uint8Array): string {
  if (head.length === 0) return 'an empty file';
  const magic = magicOf(head);
  if (magic?.compression) return `${magic.name}-compressed data`;
  if (magic) return `a file of kind ${magic.name}`;
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 4096)).toString('latin1');
  if (!/^[\t\n\r\x20-\x7e]*$/.test(text)) return 'binary data of an unknown kind';
  const lines = text.split('\n').slice(0, -1);
  if (lines.some((line) => LACKEY_LINE.test(line))) return 'lackey text';
  return `text that starts with ${JSON.stringify(shorten(text.split('\n')[0]))}`;
}

/** At most 60 characters of a text, for messages. */
export function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
