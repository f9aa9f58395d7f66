// Pairs of a virtual address and its entry of /proc/PID/pagemap, u64 each, little-endian, one for each page of 4 KiB
// (Linux, Documentation/admin-guide/mm/pagemap.rst):
//   | 63 present | 62 swapped | 61 file or shared | 57 uffd write-protected | 56 exclusive | 55 soft-dirty | 54..0 frame |
//     00a0f99616560000 20762400000000a1      page 0x561696f9a000 in frame 0x247620
// The kernel shows frames only to those who may see them (CAP_SYS_ADMIN); to others they are 0.

import { recordBlocks } from '../blocks.js';
import { InputError } from '../errors.js';
import { openInput } from '../input.js';
import { PageMap, VALUE_WORDS } from '../pageMap.js';
import { type MappingFormat, type PageMapping } from './mapping.js';

const PAIR_BYTES = 16;
const PAIR_WORDS = 4;
const BLOCK_PAIRS = 4096;
const PRESENT = 0x8000_0000;
/** Of the high word: bits 58 to 60 are zero. */
const RESERVED = 0x1c00_0000;
const FRAME_HIGH = 0x007f_ffff;
const PAGE_MASK = 0xfff;
/** User addresses: the upper half has no pagemap. */
const USER_HIGH = 2 ** 25;

/** Whether all of the pairs at the start of a file may be such pairs, and one at least is present. */
function isPagemap(head: Uint8Array): boolean {
  const pairs = Math.floor(head.length / PAIR_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  let present = false;
  for (let pair = 0; pair < pairs; pair++) {
    const at = pair * PAIR_BYTES;
    const high = view.getUint32(at + 12, true);
    if ((view.getUint32(at, true) & PAGE_MASK) !== 0 || view.getUint32(at + 4, true) >= USER_HIGH) return false;
    if ((high & RESERVED) !== 0) return false;
    present ||= high >= PRESENT;
  }
  return present;
}

async function read(path: string): Promise<PageMapping> {
  const pages = new PageMap();
  const input = await openInput(path);
  let pair = 0;
  let framed = false;
  try {
    for await (const block of recordBlocks(input.chunks, PAIR_BYTES, BLOCK_PAIRS, path)) {
      const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
      for (let at = 0; at < words.length; at += PAIR_WORDS, pair++) {
        const [vaLow, vaHigh, low, high] = words.subarray(at, at + PAIR_WORDS);
        if ((vaLow & PAGE_MASK) !== 0 || vaHigh >= USER_HIGH || (high & RESERVED) !== 0) {
          throw new InputError({
            ...{
              source: path,
              at: `record ${pair}`,
              expected: 'the address of a page of a user and its pagemap entry',
            },
            found: `0x${word(vaHigh)}${word(vaLow)} and 0x${word(high)}${word(low)}`,
          });
        }
        if (high < PRESENT) continue;
        const slot = VALUE_WORDS * pages.slotOf(vaHigh >>> 12, ((vaHigh << 20) | (vaLow >>> 12)) >>> 0, 0);
        const moved = !pages.fresh && (pages.values[slot] !== low || pages.values[slot + 1] !== (high & FRAME_HIGH));
        if (moved) {
          const found = 'another frame than before';
          throw new InputError({ source: path, at: `record ${pair}`, expected: 'every page once', found });
        }
        pages.values[slot] = low;
        pages.values[slot + 1] = high & FRAME_HIGH;
        framed ||= low !== 0 || (high & FRAME_HIGH) !== 0;
      }
    }
  } finally {
    await input.close();
  }
  if (pages.size > 0 && !framed) {
    const advice = 'read /proc/PID/pagemap with CAP_SYS_ADMIN (as root)';
    throw new InputError({ source: path, expected: 'frame numbers', found: 'only zeros', advice });
  }
  return {
    ...{ pageBytes: 4096, source: 'pagemap', size: pages.size },
    translate(va) {
      const number = va >> 12n;
      const slot = pages.find(Number(number >> 32n), Number(number & 0xffff_ffffn), 0);
      if (slot < 0) return -1n;
      const [low, high] = pages.values.subarray(VALUE_WORDS * slot);
      return (((BigInt(high) << 32n) | BigInt(low)) << 12n) | (va & 0xfffn);
    },
  };
}

function word(value: number): string {
  return value.toString(16).padStart(8, '0');
}

export const pagemap: MappingFormat = {
  name: 'pagemap',
  description: 'pairs of virtual address and /proc/PID/pagemap entry, 16 bytes',
  detect: isPagemap,
  read,
};
