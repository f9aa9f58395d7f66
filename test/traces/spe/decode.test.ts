// SPE packets to records: every kind of packet, quoted dumps of real machines, damage, and the encoder's inverse.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noDamage, SpeDecoder, SpeRecords, type SpeDamage } from '../../../traces/spe/decode.js';
import { encodeRecord, RECORD_BYTES, type SpeRecord } from '../../../traces/spe/encode.js';
import { EVENT, loadStoreSubclass } from '../../../traces/spe/packets.js';
import { FUZZ_RUNS, mutate, random } from '../perf.js';
import { recordAt } from './records.js';

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex');

/** The records of a stream that is cut into pieces, each with what it has. */
function decode(bytes: Uint8Array, pieceBytes = bytes.length || 1, damage: SpeDamage = noDamage()): SpeRecord[] {
  const decoder = new SpeDecoder(new SpeRecords(), damage);
  const found: SpeRecord[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    for (const records of decoder.decode(bytes.subarray(at, at + pieceBytes))) {
      for (let i = 0; i < records.count; i++) found.push(recordAt(records, i));
    }
  }
  decoder.jump(0);
  return found;
}

const bits = (...events: (keyof typeof EVENT)[]) => events.reduce((sum, event) => sum | (1 << EVENT[event]), 0);

describe('SPE records', () => {
  it('of an Ampere Altra, as quoted with their meaning', () => {
    // github.com/AmpereComputing/ampere-lts-kernel---DEPRECATED issue 123, "Parse the data source field of SPE record":
    // LD GP-REG; EV RETIRED L1D-ACCESS L1D-REFILL TLB-ACCESS LLC-ACCESS LLC-REFILL; LAT 337 ISSUE; LAT 501 TOT;
    // VA 0xff403ef1d79e50; LAT 1 XLAT; PA 0x403f71d79e50 ns=1; DATA-SOURCE 12; PAD; TS 7966055570099;
    // PC 0xffd4228fcbb688 el2 ns=1, which begins the next record; PAD.
    const bytes = hex(`49 00  52 1e 03  99 51 01  98 f5 01  b2 50 9e d7 f1 3e 40 ff 00  9a 01 00
      b3 50 9e d7 71 3f 40 00 80  43 0c  00 00  71 b3 9a e9 bd 3e 07 00 00
      b0 88 b6 cb 8f 22 d4 ff c0  00 00 00 00 00 00 00 00 00 00`);
    const damage = noDamage();
    expect(decode(bytes, bytes.length, damage)).toEqual([
      {
        operationClass: 1,
        operation: 0,
        events: bits('retired', 'l1dAccess', 'l1dRefill', 'tlbAccess', 'llcAccess', 'llcMiss'),
        issue: 337,
        total: 501,
        // Bits 63..56 are a tag; bit 55 is set, so the address is in the upper half.
        va: 0xffff_403e_f1d7_9e50n,
        translation: 1,
        pa: 0x403f_71d7_9e50n,
        source: 12,
        timestamp: 7966055570099n,
      },
    ]);
    // The record that the PC begins, behind 45 bytes, has no end.
    expect(damage).toEqual({ faults: 1, offsets: [45] });
  });

  it('that an end packet or a timestamp ends, whatever the order of packets', () => {
    // An end; operation other; context of EL2; a timestamp alone is no record; branch with its target and previous target.
    const bytes = hex(`48 01 65 04 03 02 01 01   71 01 00 00 00 00 00 00 00
      b1 00 00 40 00 00 00 00 80  4a 03  b4 00 10 40 00 00 00 00 80  42 82  71 05 00 00 00 00 00 00 00`);
    expect(decode(bytes)).toEqual([
      { operationClass: 0, operation: 1, context: 0x01020304, contextEl: 2 },
      { operationClass: 2, operation: 3, events: bits('retired', 'mispredicted'), timestamp: 5n },
    ]);
  });

  it('with extended headers, of which the index gets two more bits', () => {
    // 20 9a: counter 2; 21 98: counter 8, which has no meaning; 20 b2: address 2; 23 b0: address 24.
    const bytes = hex(`20 9a 07 00  21 98 ff ff  20 b2 00 10 00 00 00 00 00 00  23 b0 01 02 03 04 05 06 07 08  01`);
    expect(decode(bytes)).toEqual([{ translation: 7, va: 0x1000n }]);
  });

  it('with events and data sources of every size', () => {
    // Sizes 1, 2, 4 and 8 by bits 5..4 of the header; bits above 31 have no meaning here.
    const bytes = hex(`42 20 43 0d 01   52 20 04 53 0d 01 01   62 20 04 80 01 63 01 02 03 04 01
      72 20 04 80 01 ff 00 00 00 73 02 01 00 00 00 00 00 00 01`);
    expect(decode(bytes)).toEqual([
      { events: bits('tlbWalk'), source: 0x0d },
      { events: bits('tlbWalk', 'remoteAccess'), source: 0x10d },
      { events: bits('tlbWalk', 'remoteAccess', 'snooped', 'streamingSve'), source: 0x201 },
      { events: bits('tlbWalk', 'remoteAccess', 'snooped', 'streamingSve'), source: 0x102 },
    ]);
  });

  it('after alignment, to a multiple of its power of two in the stream', () => {
    // 23 00 at offset 3: up to a multiple of 2^4. What stands there is no packet.
    const bytes = Buffer.concat([hex('49 00 01 23 00'), Buffer.alloc(11, 0xff), hex('49 01 01')]);
    const damage = noDamage();
    for (const piece of [1, 2, 5, 7, 100]) {
      expect(decode(bytes, piece, damage)).toEqual([
        { operationClass: 1, operation: 0 },
        { operationClass: 1, operation: 1 },
      ]);
    }
    expect(damage.faults).toBe(0);
  });

  it('whose addresses have a tag, a security state or a level in the top byte', () => {
    // PC: NS, EL1 (a0) and bit 55; VA: tag 5a, lower half; PA: NS, realm bit, CH, PAT (ff).
    const bytes = hex('b0 f4 d3 29 10 00 80 ff a0  b2 00 10 00 00 ff 7f 00 5a  b3 50 bd ba f3 00 00 00 ff 01');
    expect(decode(bytes)).toEqual([{ pc: 0xffff_8000_1029_d3f4n, el: 1, va: 0x7fff_0000_1000n, pa: 0xf3ba_bd50n }]);
  });

  it('more than fit at a time', () => {
    const bytes = new Uint8Array(10_000 * RECORD_BYTES);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 10_000; i++) encodeRecord(view, i * RECORD_BYTES, { va: BigInt(i), timestamp: BigInt(i) });
    const found = decode(bytes, 100_001);
    expect(found.length).toBe(10_000);
    expect(found.every(({ va, timestamp }, i) => va === BigInt(i) && timestamp === BigInt(i))).toBe(true);
  });
});

describe('damaged SPE data', () => {
  it('costs the record in which it lies, and is noted with its offset', () => {
    // A record of 5 bytes, one with the byte ff in it, one that is whole. ff is no header.
    const bytes = hex('49 00 42 20 01   49 00 ff 01   49 01 42 10 01');
    const damage = noDamage();
    expect(decode(bytes, bytes.length, damage)).toEqual([
      { operationClass: 1, operation: 0, events: bits('tlbWalk') },
      { operationClass: 1, operation: 1, events: bits('tlbAccess') },
    ]);
    expect(damage).toEqual({ faults: 1, offsets: [7] });
  });

  it('without an end of a record is given up after 4,096 bytes', () => {
    // 2,048 operations, and no end; then an end, and a whole record.
    const bytes = Buffer.concat([Buffer.alloc(5000, hex('49 00')), hex('01 49 01 01')]);
    for (const piece of [512, 5000]) {
      const damage = noDamage();
      expect(decode(bytes, piece, damage)).toEqual([{ operationClass: 1, operation: 1 }]);
      expect(damage.faults).toBe(1);
    }
  });

  it(`does not stop it (${FUZZ_RUNS} mutations)`, () => {
    const whole = new Uint8Array(200 * RECORD_BYTES);
    const view = new DataView(whole.buffer);
    for (let i = 0; i < 200; i++) {
      const at = i * RECORD_BYTES;
      encodeRecord(view, at, { pc: 0x400000n, operationClass: 1, operation: 0, events: 2, va: 0x1000n, timestamp: 7n });
    }
    const below = random(20_201);
    for (let run = 0; run < FUZZ_RUNS; run++) {
      const damage = noDamage();
      const bytes = mutate(whole, below);
      const found = decode(bytes, 1 + below(300), damage);
      // A record has an end, so at least one byte besides a packet of two.
      expect(found.length).toBeLessThanOrEqual(bytes.length / 3);
      expect(damage.faults).toBeLessThanOrEqual(bytes.length);
    }
  });

  it('costs few of the other records', () => {
    const whole = new Uint8Array(100 * RECORD_BYTES);
    const view = new DataView(whole.buffer);
    for (let i = 0; i < 100; i++) {
      encodeRecord(view, i * RECORD_BYTES, {
        pc: 0x400000n,
        operationClass: 1,
        operation: 1,
        va: BigInt(i) << 12n,
        timestamp: 9n,
      });
    }
    for (let at = 0; at < whole.length; at += 97) {
      const bytes = Uint8Array.from(whole);
      bytes[at] ^= 0xff;
      const intact = decode(bytes).filter(({ va, operation }) => va !== undefined && operation === 1);
      // The damaged record, and one more where its end is not found.
      expect(intact.length).toBeGreaterThanOrEqual(98);
    }
  });
});

describe('a record of 64 bytes', () => {
  it('has its packets in the order of the emulated unit', () => {
    const view = new DataView(new ArrayBuffer(RECORD_BYTES));
    encodeRecord(view, 0, {
      pc: 0xffff_8000_1029_d3f4n,
      el: 1,
      context: 0x1234,
      contextEl: 2,
      operationClass: 1,
      operation: 1,
      events: 0x36,
      total: 501,
      issue: 337,
      translation: 70_000,
      va: 0xffff_403e_f1d7_9e50n,
      source: 12,
      pa: 0x403f_71d7_9e50n,
      timestamp: 7966055570099n,
    });
    // PC with NS and EL1 in the top byte; 65: context of EL2; a counter stops at ffff; PA with NS; 59 bytes and padding.
    expect(Buffer.from(view.buffer).toString('hex')).toBe(
      hex(`b0 f4d3291000 80ffa0  65 34120000  49 01  62 36000000  98 f501 99 5101 9a ffff  b2 509ed7f13e40ffff
        43 0c  b3 509ed7713f400080  71 b39ae9bd3e070000  00 00 00 00 00`).toString('hex'),
    );
  });

  it('ends with 01 where it has no timestamp', () => {
    const view = new DataView(new ArrayBuffer(RECORD_BYTES));
    encodeRecord(view, 0, { operationClass: 0 });
    expect(Buffer.from(view.buffer)).toEqual(Buffer.concat([hex('48 00 01'), Buffer.alloc(61)]));
  });

  it('is decoded to what was encoded', () => {
    const canonical = fc
      .bigInt({ min: 0n, max: 2n ** 55n - 1n })
      .chain((low) => fc.constantFrom(low, BigInt.asUintN(64, -1n - low)));
    const half = fc.nat(0xffff);
    const record = fc
      .record(
        {
          pc: canonical,
          el: fc.nat(3),
          context: fc.nat(0xffff_ffff),
          contextEl: fc.integer({ min: 1, max: 2 }),
          operationClass: fc.nat(2),
          operation: fc.nat(255),
          events: fc.nat(0xffff_ffff),
          total: half,
          issue: half,
          translation: half,
          va: canonical,
          source: fc.nat(255),
          pa: fc.bigInt({ min: 0n, max: 2n ** 55n - 1n }),
          timestamp: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        },
        { requiredKeys: ['el', 'contextEl', 'operation', 'operationClass'] },
      )
      .map(({ pc, el, context, contextEl, ...rest }): SpeRecord => ({
        ...rest,
        ...(pc !== undefined && { pc, el }),
        ...(context !== undefined && { context, contextEl }),
      }));
    fc.assert(
      fc.property(fc.array(record), fc.integer({ min: 1, max: 200 }), (records, piece) => {
        const bytes = new Uint8Array(records.length * RECORD_BYTES);
        records.forEach((each, i) => encodeRecord(new DataView(bytes.buffer), i * RECORD_BYTES, each));
        expect(decode(bytes, piece)).toEqual(records);
      }),
    );
  });
});

describe('the subclass of a load or store', () => {
  it.each([
    // tools/perf/util/arm-spe-decoder/arm-spe-pkt-decoder.h, SPE_OP_PKT_LDST_SUBCLASS_*
    [0x00, 'general'],
    [0x01, 'general'],
    [0x05, 'simd-fp'],
    [0x10, 'unspecified'],
    [0x15, 'tag'],
    [0x21, 'copy'],
    [0x25, 'set'],
    [0x31, 'system-register'],
    [0x44, 'control-stack'],
    [0x06, 'extended'],
    [0x1e, 'extended'],
    [0x08, 'sve-sme'],
    [0xd8, 'sve-sme'],
    [0x24, 'unknown'],
  ])('of payload %i is %s', (payload, name) => expect(loadStoreSubclass(payload)).toBe(name));
});
