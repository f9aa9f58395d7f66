// CRC-32C (Castagnoli, RFC 3720 B.4): the checksum of snappy's framing. Four bytes a step, with four tables.

const POLYNOMIAL = 0x82f6_3b78;

const TABLES = Array.from({ length: 4 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  TABLES[0][byte] = crc;
}
for (let table = 1; table < 4; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = TABLES[table - 1][byte];
    TABLES[table][byte] = (before >>> 8) ^ TABLES[0][before & 0xff];
  }
}
const [LAST, THIRD, SECOND, FIRST] = TABLES;

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc = FIRST[crc & 0xff] ^ SECOND[(crc >>> 8) & 0xff] ^ THIRD[(crc >>> 16) & 0xff] ^ LAST[crc >>> 24];
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ LAST[(crc ^ bytes[at]) & 0xff];
  return ~crc >>> 0;
}
