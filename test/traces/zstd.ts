// zstd frames without compression (RFC 8878, 3.1.1): enough to test readers of frames that are cut into pieces.

/** The pieces of one frame that goes on after the last of them, each with one block of these bytes as they are. */
export function zstdFrame(...plain: Uint8Array[]): Buffer[] {
  // Magic, a descriptor without content size, a window of 1 KiB << 10.
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3]);
  return plain.map((bytes, i) => {
    // Block header: bit 0 last block, bits 2..1 type 0 raw, then the size.
    const block = Buffer.from([(bytes.length << 3) & 0xff, bytes.length >> 5, bytes.length >> 13]);
    return Buffer.concat([...(i === 0 ? [header] : []), block, bytes]);
  });
}
