// How each compression is unpacked. zstd, xz and bzip2 run in the system's own programs where they are installed: a second
// core, and several times as fast. LZ4 and snappy unpack here faster than a pipe from another process would bring them.

import { type Compression } from '../sniff.js';
import { bunzip2 } from './bzip2.js';
import { gunzip } from './gzip.js';
import { unlz4 } from './lz4.js';
import { type Unpacker } from './packed.js';
import { unpackWith } from './program.js';
import { unsnappy } from './snappy.js';
import { unxz } from './xz.js';
import { unzstd } from './zstd.js';

export const UNPACKERS: Readonly<Record<Compression, Unpacker>> = {
  gzip: gunzip,
  // A window of up to 2 GiB: traces are packed with --long.
  zstd: (packed, path) => unpackWith(['zstd', '-dc', '--long=31'], packed, path) ?? unzstd(packed, path),
  xz: (packed, path) => unpackWith(['xz', '-dc'], packed, path) ?? unxz(packed, path),
  bzip2: (packed, path) => unpackWith(['bzip2', '-dc'], packed, path) ?? bunzip2(packed, path),
  lz4: unlz4,
  snappy: unsnappy,
};
