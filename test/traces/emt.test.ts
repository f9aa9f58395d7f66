// EMT's QEMU records. Layout in the head of traces/formats/emt.ts.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { converter, fixture } from './converted.js';
import { scratch } from './support.js';

const { ofFile, ofText } = converter(scratch());
const HAND = fixture('emt/hand.bin');

describe('an EMT trace', () => {
  it('gives va, pa, size and CPU, and the mode of the code that each CPU runs', async () => {
    const { trace, metadata } = await ofFile(HAND);
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0xffff_ffff_8100_41d0n, pa: 0x0100_41d0n, size: 4, mode: 1 },
      // The kernel loads from the user's stack.
      { cpu: 0, kind: 1, va: 0x7ffd_5b6f_8e48n, pa: 0x5a3f_1e48n, size: 8, mode: 1 },
      { cpu: 1, kind: 0, va: 0x40_1000n, pa: 0x7_7000n, size: 5, mode: 0 },
      { cpu: 1, kind: 2, va: 0x7ffd_0000_1ffen, pa: 0x8_8ffen, size: 2, mode: 0 },
      // A record of the first tracers: CPU and size are in other places.
      { cpu: 1, kind: 0, va: 0x40_1005n, pa: 0x7_7005n, size: 3, mode: 0 },
    ]);
    // Walks of 3, 4, 4, 0 and 4 entries.
    expect(metadata.counts).toMatchObject({ walks: 4, walkEntries: 15 });
    expect(metadata.cpus).toBe(2);
  });

  it('of the ECPT build is refused', async () => {
    await expect(ofFile(fixture('emt/ecpt.bin'))).rejects.toThrow(/expected records of 64 bytes.*found records of 120/);
  });

  it('names the record that is none', async () => {
    const bytes = Uint8Array.from(readFileSync(HAND));
    bytes[2 * 64] = 0x58;
    await expect(ofText(bytes, { from: 'emt' })).rejects.toThrow(
      /record 2: expected a first byte M, F or I.*found 0x58/,
    );
    const large = Uint8Array.from(readFileSync(HAND));
    large[3 * 64 + 6] = 1;
    await expect(ofText(large, { from: 'emt' })).rejects.toThrow(/record 3: .*found a size of 65538/);
  });
});
