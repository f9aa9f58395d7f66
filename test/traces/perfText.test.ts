// Text of perf: what perf printed of a recording gives the rows that the recording itself gives; lines made here; damage.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { InputError, UsageError } from '../../traces/errors.js';
import { detectFormat } from '../../traces/detect.js';
import { perfData } from '../../traces/formats/perfData.js';
import { perfDump } from '../../traces/formats/perfDump.js';
import { perfMem } from '../../traces/formats/perfMem.js';
import { perfScript } from '../../traces/formats/perfScript.js';
import { type Input } from '../../traces/input.js';
import { FUZZ_RUNS, mutate, random, readAs } from './perf.js';
import { type Row } from './support.js';

const FIXTURES = fileURLToPath(new URL('../fixtures/perf/', import.meta.url));
const fixture = (name: string) => readFileSync(FIXTURES + name);
const UNKNOWN = 2n ** 64n - 1n;
const byTime = (rows: Row[]) => rows.sort((a, b) => Number((a.time as bigint) - (b.time as bigint)));
const text = (...lines: string[]) => Buffer.from(lines.map((line) => `${line}\n`).join(''));

describe('perf script', () => {
  it.each(['faults', 'faults-zstd', 'faults-pipe'])('gives the rows of the recording %s', async (name) => {
    const recorded = byTime((await readAs(perfData, fixture(`${name}.data`))).rows);
    for (const chunkBytes of [100, 1 << 20]) {
      const { rows, metadata } = await readAs(perfScript, fixture(`${name}.script.txt`), {}, { chunkBytes });
      expect(rows).toEqual(recorded);
      expect(metadata.counts!.accesses).toBe(recorded.length);
    }
  });

  const LOAD = '          68100242 |OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A';
  const row = { cpu: 2, kind: 1, va: 0x7f00_1000n, pa: UNKNOWN, mode: 0, tid: 42, time: 12_345_678_000n };

  it.each<[string, string, Partial<Row>, Record<string, string>?]>([
    ['all', `a b  42 [002] 12.345678: mem-loads:     7f001000 ${LOAD}     30   400000     8000 4K`, { pa: 0x8000n }],
    [
      'pid and period',
      `ls 41/42 [002] 12.345678:   9 cpu/mem-loads,ldlat=30/P:     7f001000 ${LOAD}     30   400000`,
      {},
    ],
    [
      'symbols',
      `ls 42 [002] 12.345678: e:  7f001000 [unknown] ([stack])  ${LOAD}  30 400000 main+0x1 (/bin/ls)  8000`,
      { pa: 0x8000n },
    ],
    ['no data_src', 'ls 42 [002] 12.345678: e:     7f001000   ffffffff81000000', { mode: 1 }],
    [
      'an older perf',
      `ls 42 [002] 12.345678: e: 7f001000 5080142 |OP STORE|LVL L1 hit|SNP N/A|TLB N/A|LCK Yes  0 400000`,
      {},
    ],
    ['no CPU', `ls 42 12.345678: e:     7f001000 ${LOAD}    30   400000`, { cpu: 0 }],
    [
      'addr only',
      'ls 42 [002] 12.345678: mem-stores:     7f001000',
      { kind: 2 },
      { fields: 'comm,tid,cpu,time,event,addr' },
    ],
    ['no event', ' 42 [002]     7f001000     8000', { pa: 0x8000n, time: 0n }, { fields: 'tid,cpu,addr,phys_addr' }],
  ])('reads lines with %s', async (_, line, other, set = {}) => {
    // 68100242: load (2); 5080142: load as well, whatever its words say.
    const { rows } = await readAs(perfScript, text('# comment', line, '\t  400000 main (/bin/ls)', '', line), set);
    expect(rows).toEqual([
      { ...row, ...other },
      { ...row, ...other },
    ]);
  });

  it('refuses lines without an address, with other fields than the first and too long', async () => {
    const messageOf = (...lines: string[]) => readAs(perfScript, text(...lines)).catch((e: unknown) => e as InputError);
    const ip = await messageOf('ls 42 [002] 12.345678:   1 cycles:      400000 main+0x0 (/bin/ls)');
    expect(String(ip)).toMatch(/line 1: expected a sample with an address .*print with: perf script -F comm,tid/);
    const line = `ls 42 [002] 12.345678: e:     7f001000 ${LOAD}    30   400000`;
    expect(String(await messageOf(line, 'ls 42 [002] 12.345678: e: zz'))).toMatch(
      /line 2: expected a sample with the fields/,
    );
    expect(String(await messageOf(line, `${line}${' '.repeat(5000)}`))).toMatch(/line 2/);
    await expect(readAs(perfScript, text(line), { fields: 'comm,brstack,addr' })).rejects.toThrow(UsageError);
    await expect(readAs(perfScript, text(line), { fields: 'comm,ip' })).rejects.toThrow(/expected addr among them/);
  });
});

describe('perf mem report -D', () => {
  it.each(['faults.mem.txt', 'faults.mem-x.txt'])('gives the rows of the recording, from %s', async (name) => {
    const recorded = byTime((await readAs(perfData, fixture('faults.data'))).rows);
    const { rows } = await readAs(perfMem, fixture(name), {}, { chunkBytes: 333 });
    // perf prints in the order of time, without CPU and time.
    expect(rows).toEqual(recorded.map((row) => ({ ...row, cpu: 0, time: 0n })));
  });

  it('takes 0x016 before the first address for the slip that it is', async () => {
    // The first line of the fixture has it; the same line printed with -x, has the address alone.
    const first = fixture('faults.mem.txt').toString().split('\n')[1];
    expect(first).toMatch(/ 0x016[0-9a-f]{12} /);
    // An address that begins with 16, as any later line prints it, stays.
    const lines = text(
      '# PID, TID, IP, ADDR, LOCAL WEIGHT, DSRC, SYMBOL',
      '   10    11 0x0000000000400000 0x0161000     7 0x000044 a:b',
      '10 11 0x400000 0x161000 7 0x44 a:b',
    );
    const { rows, metadata } = await readAs(perfMem, lines);
    expect(rows.map(({ va, kind }) => [va, kind])).toEqual([
      [0x1000n, 2],
      [0x161000n, 2],
    ]);
    expect(metadata.counts).toMatchObject({ latencies: 2, latencyCycles: 14 });
  });

  it.each([',', '|', ';', '\t', '::'])('reads any separator: %j', async (separator) => {
    const line = [10, -1, '0xffffffff81000000', '0x7f001000', '0x8000', '4K', 7, '0x44', 'dso:a b'].join(separator);
    const header = '# PID, TID, IP, ADDR, PHYS ADDR, DATA PAGE SIZE, LOCAL WEIGHT, DSRC, SYMBOL';
    expect((await readAs(perfMem, text(header, line))).rows).toEqual([
      { cpu: 0, kind: 2, va: 0x7f00_1000n, pa: 0x8000n, mode: 1, tid: 0, time: 0n },
    ]);
  });

  it('refuses lines that are not as the first says', async () => {
    const header = '# PID, TID, IP, ADDR, PHYS ADDR, LOCAL WEIGHT, DSRC, SYMBOL';
    await expect(readAs(perfMem, text(header, '1,1,0x1,0x2,7,0x44,a:b'))).rejects.toThrow(
      /line 2: expected the fields/,
    );
    await expect(readAs(perfMem, text('1,1,0x1,0x2,7,0x44,a:b'))).rejects.toThrow(/line 1: expected a first line/);
  });
});

describe('perf report -D', () => {
  it('gives the packets that it prints, quoted or whole', async () => {
    // The meaning stands beside the packets; the second record is no load or store.
    const expected = {
      cpu: 0,
      kind: 1,
      va: 0xffff_0000_70d8_40d0n,
      pa: UNKNOWN,
      mode: 1,
      tid: 0,
      time: 86447955877n,
    };
    for (const chunkBytes of [50, 1 << 20]) {
      const { rows, metadata } = await readAs(perfDump, fixture('spe-dump.txt'), {}, { chunkBytes });
      expect(rows).toEqual([expected]);
      expect(metadata.counts).toMatchObject({
        samples: 2,
        accesses: 1,
        tlbAccess: 1,
        latencyCycles: 13,
        translationCycles: 1,
      });
    }
    const { rows } = await readAs(perfDump, fixture('spe-dump.txt'), { fetch: 'true' });
    expect(rows.map(({ kind, va }) => [kind, va])).toEqual([
      [0, 0xffff_8000_1029_d3f4n],
      [1, 0xffff_0000_70d8_40d0n],
      [0, 0xffff_8000_1029_f97cn],
    ]);
  });

  it('has streams by the records above the packets, and passes everything else over', async () => {
    const lines = text(
      '0x1c8@perf.data [0x30]: event: 71',
      '. ... raw event: size 48 bytes',
      '.  0000:  47 00 00 00 00 00 30 00 10 00 00 00 00 00 00 00  G.....0.........',
      '0 0 0x1c8 [0x30]: PERF_RECORD_AUXTRACE size: 0x10  offset: 0  ref: 0  idx: 1  tid: -1  cpu: 3',
      '.',
      '. ... ARM SPE data: size 0x10 bytes',
      '.  00000000:  49 01                                           ST GP-REG',
      '.  00000002:  b2 00 10 00 7f 00 00 00 00                      VA 0x7f001000',
      '.  0000000b:  01                                              END',
      '.  0000000c:  00 00 00 00                                     PAD',
      '',
      '0x1c8 [0x30]: PERF_RECORD_AUXTRACE size: 0x10  offset: 0  ref: 0  idx: 2  tid: 77  cpu: -1',
      '. ... ARM SPE data: size 0x10 bytes',
      '.  00000000:  ff                                              Bad packet!',
      '.  00000001:  01                                              END',
      '.  00000002:  49 00                                           LD GP-REG',
      '.  00000004:  b2 00 20 00 7f 00 00 00 00                      VA 0x7f002000',
      '.  0000000d:  01                                              END',
    );
    const { rows, metadata } = await readAs(perfDump, lines);
    expect(rows.map(({ cpu, kind, va, tid }) => [cpu, kind, va, tid])).toEqual([
      [3, 2, 0x7f00_1000n, 0],
      [0, 1, 0x7f00_2000n, 77],
    ]);
    expect(metadata.notes).toContain('damaged SPE data in 1 places, first at bytes 0 of their streams');
  });
});

describe('perf text', () => {
  const formatOf = (name: string) =>
    detectFormat({ path: name, head: fixture(name).subarray(0, 65_536) } as Partial<Input> as Input).name;

  it.each([
    ['faults.data', 'perf-data'],
    ['faults-pipe.data', 'perf-data'],
    ['faults.script.txt', 'perf-script'],
    ['faults-pipe.script.txt', 'perf-script'],
    ['faults.mem.txt', 'perf-mem'],
    ['faults.mem-x.txt', 'perf-mem'],
    ['spe-dump.txt', 'perf-dump'],
  ])('%s is recognised as %s', (name, format) => expect(formatOf(name)).toBe(format));

  it(`that is damaged gives rows or an InputError, soon (${FUZZ_RUNS} mutations)`, async () => {
    const below = random(104_729);
    const wholes = [
      { format: perfScript, bytes: fixture('faults.script.txt') },
      { format: perfMem, bytes: fixture('faults.mem.txt') },
      { format: perfMem, bytes: fixture('faults.mem-x.txt') },
      { format: perfDump, bytes: fixture('spe-dump.txt') },
    ];
    for (let run = 0; run < FUZZ_RUNS; run++) {
      const { format, bytes } = wholes[run % wholes.length];
      const started = performance.now();
      const error = await readAs(format, mutate(bytes, below)).then(
        () => null,
        (e: unknown) => e,
      );
      if (error !== null) expect(error, `run ${run}: ${(error as Error).stack}`).toBeInstanceOf(InputError);
      expect(performance.now() - started).toBeLessThan(2000);
    }
  });
});
