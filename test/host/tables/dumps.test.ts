// Page-table dumps as table images: asked, explained, replayed and used as mappings like those of a captured machine.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { register as registerConvert } from '../../../host/commands/convert.js';
import { register as registerInfo } from '../../../host/commands/info.js';
import { loadConfig } from '../../../host/config/load.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { explain } from '../../../host/tables/explain.js';
import { imageMapping } from '../../../host/tables/mapping.js';
import { explanationText } from '../../../host/tables/text.js';
import { Translator } from '../../../host/tables/translate.js';
import { type ColumnName } from '../../../traces/batch.js';
import { metadataWith } from '../../../traces/metadata.js';
import { writeTrace } from '../../../traces/writer.js';
import { batchOf, eachOf, rowsOf } from '../../traces/support.js';
import { dmtPages, level, ptdumpOf } from '../../traces/dumps.js';
import { caughtOutput } from '../output.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-dumps-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);
const output = caughtOutput();

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  registerConvert(program);
  registerInfo(program);
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(args, { from: 'user' });
}

function file(name: string, text: string): string {
  writeFileSync(path(name), text);
  return path(name);
}

const NUMA = '<numamap>\n0 0 16777216\n1 16777216 33554432\n</numamap>\n';
/** As in the tests of mappings: 4 KiB pages at 0x0 (data), 0x1000 (code), 0x2000 (no access), 2 MiB at 0x200000. */
const GUEST = `${NUMA}${ptdumpOf(7, [
  level(4, 0x100, { 0: '101' }),
  level(3, 0x101, { 0: '102' }),
  level(2, 0x102, { 0: 'p103', 1: '9' }),
  level(1, 0x103, { 0: '500', 1: 'x501', 2: 'n502' }),
])}`;
/** Guest frames 0x100 to 0x103 lie in 0x900 to 0x903, 0x500 and 0x501 in 0xa00 and 0xa01, 0x1200 to 0x13ff in 0x1800 on. */
const HOST = `${NUMA}${ptdumpOf(1, [
  level(4, 0x200, { 0: '201' }),
  level(3, 0x201, { 0: '202' }),
  level(2, 0x202, { 0: 'p203', 2: 'p204', 9: 'xc' }),
  level(1, 0x203, { 0x100: 'x900', 0x101: 'x901', 0x102: 'x902', 0x103: 'x903' }),
  level(1, 0x204, { 0x100: 'xa00', 0x101: 'xa01' }),
])}`;

describe('the image of a ptdump', () => {
  it('translates what the dump maps', async () => {
    await run('convert', file('p.txt', GUEST), '-o', `${path('one')}/`);
    expect(output.stderr).toMatch(/4 table pages, root cr3_cpu0/);
    const translator = await Translator.open(path('one'));
    const at = (va: bigint, kind?: 'read' | 'write' | 'fetch') => {
      const {
        status,
        pa,
        level: at,
        pageBytes,
      } = translator.translate('cr3_cpu0', va, kind ? { kind, mode: 'user' } : null);
      return [status, pa, at, pageBytes];
    };
    expect(at(0x123n)).toEqual(['ok', 0x50_0123n, 1, 4096n]);
    expect(at(0x20_1234n)).toEqual(['ok', 0x120_1234n, 2, 0x20_0000n]);
    expect(at(0x2000n)).toEqual(['fault', null, 1, 0n]);
    expect(at(0x40_0000n)).toEqual(['fault', null, 2, 0n]);
    // Writable and for the user; only "x" pages execute.
    expect(at(0x123n, 'write')[0]).toBe('ok');
    expect(at(0x123n, 'fetch')[0]).toBe('permission');
    expect(at(0x1123n, 'fetch')[0]).toBe('ok');
  });

  it('keeps the frame of a page without access', async () => {
    const translator = await Translator.open(path('one'));
    const { entry } = translator.translate('cr3_cpu0', 0x2000n, null);
    // Frame 0x502, XD; D, A, U/S, R/W and bit 8, not P.
    expect(entry).toBe((1n << 63n) | 0x50_2166n);
  });

  it('has a root for each table of level 4', async () => {
    const two = `${NUMA}${ptdumpOf(7, [level(4, 0x100, { 0: '101' }), level(4, 0x110, { 1: '101' }), level(3, 0x101, {})])}`;
    await run('convert', file('two.txt', two), '-o', `${path('two')}/`);
    expect((await Translator.open(path('two'))).rootNames).toEqual(['cr3_cpu0', 'cr3_cpu1']);
  });

  it('is a mapping for a trace and tables for a replay', async () => {
    const trace = file('l.txt', 'I  00001010,2\n S 00201008,8\n L 00900000,4\n');
    await run('convert', trace, '-o', path('m.arrow'), '--map', path('one'));
    const pas = (await rowsOf(path('m.arrow'))).map(({ pa }) => pa);
    expect(pas).toEqual([0x50_1010n, 0x120_1008n, 0xffff_ffff_ffff_ffffn]);
    await expect(imageMapping(path('two'), undefined)).rejects.toThrow(/several roots: name one with --set root=NAME/);
    // Which address space a CPU is in an event says: mm is the root's physical address, ctx_switch 37, its third operand 19.
    const columns: ColumnName[] = ['cpu', 'kind', 'va', 'arg'];
    const rows = [
      { cpu: 0, kind: 37, va: 0x10_0000n, arg: 0n },
      { cpu: 0, kind: 19, va: 0n, arg: 0n },
      ...[0x1010n, 0x20_1008n, 0x90_0000n].map((va) => ({ cpu: 0, kind: 1, va, arg: 0n })),
    ];
    await writeTrace(path('r.arrow'), columns, eachOf([batchOf(columns, rows)]), () => metadataWith());
    const sets = ['replay.mapping=tables', `replay.tables=${path('one')}`];
    const [summary] = await replayTrace(path('r.arrow'), [loadConfig({ sets }).config]);
    const { walk, fault } = summary.totals as unknown as { walk: { count: number }; fault: { demand: number } };
    // Three pages, of which the tables map two.
    expect([walk.count, fault.demand]).toEqual([3, 1]);
  });
});

describe('the image of a guest over its host', () => {
  it('walks both stages: every table of the guest lies where the host put it', async () => {
    await run('convert', file('g.txt', GUEST), file('h.txt', HOST), '-o', `${path('nested')}/`);
    expect(output.stderr).toMatch(/9 table pages, roots cr3_cpu0, s2_guest_cpu0/);
    const translator = await Translator.open(path('nested'));
    const answer = translator.translate('cr3_cpu0', 0x1123n, null);
    expect(answer).toMatchObject({ status: 'ok', pa: 0xa0_1123n, level: 1, pageBytes: 4096n, s2Level: 1 });
    // (4 + 1) * (4 + 1) - 1 descriptors.
    expect(translator.steps()).toHaveLength(24);
    // A page of 2 MiB in both: 0x1201000 is 0x201000 into the page at frame 0x1800.
    expect(translator.translate('cr3_cpu0', 0x20_1234n, null)).toMatchObject({ pa: 0x180_1234n, level: 2, s2Level: 2 });
    expect(translator.translate('s2_guest_cpu0', 0x50_0001n, null)).toMatchObject({ status: 'ok', pa: 0xa0_0001n });
    expect(translator.translate('s2_guest_cpu0', 0x60_0000n, null).status).toBe('fault');
  });

  it('is explained stage by stage', async () => {
    const translator = await Translator.open(path('nested'));
    const text = explanationText(explain(translator, 'cr3_cpu0', 0x1123n, null));
    expect(text).toContain('stage 2: EPT, 4 levels, root 0x200000');
    expect(text).toContain('IPA 0x100000, through stage 2:');
    expect(text).toContain('stage 2 level 1: table 0x203000 index 256, entry at 0x203800');
    expect(text).toContain('R=1; W=1; X=1; memory type=6');
    expect(text).toContain('ok: PA 0xa01123, 4K at level 1, 4K at level 1 of stage 2');
  });

  it('is no tables for a replay, which walks one stage', async () => {
    const config = loadConfig({ sets: ['replay.mapping=tables', `replay.tables=${path('nested')}`] }).config;
    await expect(replayTrace(path('m.arrow'), [config])).rejects.toThrow(/tables without EPT for a replay/);
  });

  it('shows where the leaf tables lie, as every socket sees them', async () => {
    await run('info', path('g.txt'), '--host', path('h.txt'), '--json');
    const { breakdown } = JSON.parse(output.stdout) as { breakdown: object };
    // The guest's tables 0x102 and 0x103 are in frames 0x902, 0x903, the host's 0x202 and 0x204 in their own: all on node 0.
    // Pages 0x500, 0x501 and the large one count, 0x502 is not mapped by the host.
    expect(breakdown).toEqual({
      sockets: [
        { socket: 0, LL: 3, LR: 0, RL: 0, RR: 0 },
        { socket: 1, LL: 0, LR: 0, RL: 0, RR: 3 },
      ],
      lost: 1,
    });
    output.stdout = '';
    await run('info', path('g.txt'), '--host', path('h.txt'));
    expect(output.stdout).toMatch(/^ +0 +3 +0 +0 +0 +100.0% +0% +0% +0%$/m);
  });
});

describe('the image of a DMT dump', () => {
  it('translates its rows, large pages with their size', async () => {
    const rows =
      dmtPages(0x5000n, ['100', '101', '102', '103', '500'], 1) +
      dmtPages(0x20_0000n, ['100', '101', '102', '1200', '1200'], 512);
    await run('convert', file('d.txt', `            1234\n${rows}`), '-o', `${path('dmt')}/`);
    const translator = await Translator.open(path('dmt'));
    const fetch = { kind: 'fetch', mode: 'user' } as const;
    expect(translator.translate('cr3_cpu0', 0x5123n, fetch)).toMatchObject({ status: 'ok', pa: 0x50_0123n, level: 1 });
    expect(translator.translate('cr3_cpu0', 0x3f_f123n, fetch)).toMatchObject({ pa: 0x13f_f123n, level: 2 });
  });
});

describe('convert to a folder', () => {
  it('says what it wants, and leaves nothing behind', async () => {
    const lackey = file('x.txt', 'I  00001000,2\n');
    await expect(run('convert', lackey, '-o', `${path('no')}/`)).rejects.toThrow(/expected a page-table dump/);
    await expect(run('convert', path('p.txt'), '-o', `${path('one')}/`)).rejects.toThrow(/a new or empty folder/);
    await expect(run('convert', path('p.txt'), '-o', `${path('no')}/`, '--set', 'root=x')).rejects.toThrow(
      /--set root: unknown option/,
    );
    await expect(run('info', lackey, '--host', path('h.txt'))).rejects.toThrow(/is no page-table dump/);
    expect(existsSync(path('no'))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.includes('.tmp-'))).toEqual([]);
  });

  it('writes the files of docs/tables.md', () => {
    expect(readdirSync(path('one')).sort()).toEqual(['registers.json', 'tablepages.bin', 'tablepages.csv']);
    expect(readFileSync(join(path('one'), 'tablepages.csv'), 'utf8')).toMatch(
      /^index,pa,bytes,roles\n0,0x100000,4096,cr3_cpu0:L4\+0x0\/4096\n1,0x101000,/,
    );
  });
});
