// gem5 packet traces. Messages in the head of traces/formats/gem5.ts.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { converter, fixture } from './converted.js';
import { scratch } from './support.js';

const { ofFile, ofText } = converter(scratch());
const HAND = fixture('gem5/hand.trc');

describe('a gem5 packet trace', () => {
  it('gives reads, writes and fetches with their tick; va repeats pa', async () => {
    const { trace, metadata, warnings } = await ofFile(HAND);
    const row = (kind: number, pa: bigint, size: number, time: bigint) => ({ cpu: 0, kind, va: pa, pa, size, time });
    expect(trace).toEqual([
      row(0, 0x1000n, 64, 1000n), // ReadReq with INST_FETCH
      row(2, 0xff_ffff_fff0n, 8, 2000n), // WriteReq
      row(1, 0x3008n, 8, 4000n), // SwapReq loads
      row(2, 0x3008n, 8, 4000n), // and stores
      row(1, 0x8000_0000_0000_0040n, 64, 2n ** 63n), // ReadSharedReq
    ]);
    expect(metadata).toMatchObject({
      clock: '1/1000000000000 s',
      source: { tool: 'gem5', origin: 'system.monitor' },
      filters: ['passed over packets: WritebackDirty 1, HardPFReq 1, command 77 1'],
    });
    expect(warnings).toEqual([expect.stringMatching(/unknown meaning: command 77 1$/)]);
  });

  it('may be packed, as gem5 does where the name ends in .gz', async () => {
    expect((await ofText(gzipSync(readFileSync(HAND)))).trace).toEqual((await ofFile(HAND)).trace);
  });

  it('that is cut off names the packet', async () => {
    const bytes = readFileSync(HAND);
    await expect(ofText(bytes.subarray(0, bytes.length - 3))).rejects.toThrow(/packet 6: .*the end of the file after/);
    await expect(ofText(bytes.subarray(0, 10))).rejects.toThrow(/header: .*the end of the file after 6/);
  });

  it('refuses a message that is longer than any', async () => {
    const bytes = Buffer.concat([Buffer.from('gem5'), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])]);
    await expect(ofText(bytes)).rejects.toThrow(/header: .*a length of/);
  });
});
