// The HTML report of a sweep and of a replay: self-contained, complete, escaped, the same bytes every time.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Command } from 'commander';
import { register } from '../../../host/commands/report.js';
import { reportPage } from '../../../host/report/report.js';
import { NodewalkError } from '../../../traces/errors.js';
import { counters, PHASES, writeReplay, writeSweep } from './synthetic.js';

const root = mkdtempSync(join(tmpdir(), 'nodewalk-report-'));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
const directory = () => join(root, String(made++));

/** The page of a sweep and its manifest. */
async function sweepReport(options: Parameters<typeof writeSweep>[1] = {}) {
  const dir = directory();
  const manifest = writeSweep(dir, options);
  return { dir, manifest, page: await reportPage(dir) };
}

/** Addresses and elements through which a page would load something. */
function references(page: string): string[] {
  const patterns = [
    /<(link|iframe|object|embed|img|image|base|meta http)\b/gi,
    /\b(src|href|srcset|action|data)\s*=/gi,
  ];
  return [...patterns, /https?:\/\//gi, /url\(/gi, /@import/gi, /\bimport\(/gi].flatMap(
    (pattern) => page.match(pattern) ?? [],
  );
}

/** Which of the texts are not in the page: a failure prints those and not the page. */
const lacking = (page: string, ...texts: string[]) => texts.filter((text) => !page.includes(text));

/** Values that went wrong on their way into the page's text or plots. */
const nonsense = (page: string) => page.replace(/<script>.*<\/script>/s, '').match(/NaN|undefined|Infinity|\[object/g);

describe('a sweep', () => {
  test('refers to nothing outside the page', async () => {
    const { page } = await sweepReport();
    expect(references(page)).toEqual([]);
    expect(lacking(page, '@font-face')).toHaveLength(1);
  });

  test('shows every cell, phase, varied value and configuration', async () => {
    const { page, manifest } = await sweepReport();
    expect(manifest.cells).toHaveLength(32);
    for (const { cell } of manifest.cells)
      expect(lacking(page, `<td class="n" data-v="${cell}">#${cell}</td>`)).toEqual([]);
    for (const { name, phase } of PHASES) {
      expect(lacking(page, `<td>${name}</td>`)).toEqual([]);
      expect(lacking(page, `>${name} (${phase})</text>`)).toEqual([]);
    }
    // Two traces share their sixteen configurations.
    expect(page.match(/<pre>extends: generic/g)).toHaveLength(16);
    expect(lacking(page, 'default: 2M')).toEqual([]);
  });

  test('states gains of the best cell by both definitions', async () => {
    const { page } = await sweepReport({ traces: ['one'], keys: ['ways'] });
    // The cell with the most ways walks least. The expected gain comes from the two cells' own cycles.
    const cycles = [...page.matchAll(/<td class="n" data-v="(\d+)">[\d,]+<\/td>/g)].map(([, value]) => Number(value));
    const total = (ways: number) => {
      const varied = { pageSize: '4K', ways, tables: 'first-touch' };
      // Phases of 40,000 + 7,000 i accesses with the weights of the generator, and 90,000 accesses outside of them.
      const phases = PHASES.map(({ node }, i) => counters(40_000 + i * 7_000, varied, 0.4 + ((i * 5) % 9) / 5, node));
      return [...phases, counters(90_000, varied, 0.7, 0)].reduce((sum, { cycles }) => sum + cycles.total, 0);
    };
    const [before, after] = [total(4), total(16)];
    expect(cycles).toContain(before);
    expect(cycles).toContain(after);
    expect(lacking(page, `data-v="${before / after - 1}"`)).toEqual([]);
    expect(lacking(page, `data-v="${1 - after / before}"`)).toEqual([]);
    expect(lacking(page, 'T_old/T_new - 1')).toEqual([]);
    expect(lacking(page, '1 - T_new/T_old')).toEqual([]);
  });

  test('marks the baseline of each trace, and states no gain without one', async () => {
    const { page } = await sweepReport({ keys: ['ways'], baseline: 1 });
    // Cell 1 of the first trace and cell 5 of the second have the same varied values; both lead the headline tables too.
    const marked = [
      ...page.matchAll(
        /<tr class="baseline"><td class="n" data-v="(\d+)">#\d+<\/td><td>[^<]*<\/td><td>8<\/td><td class="n" data-v="0">/g,
      ),
    ];
    expect(new Set(marked.map(([, cell]) => cell))).toEqual(new Set(['1', '5']));
    const { page: without } = await sweepReport({ keys: ['ways'], baseline: null });
    expect(lacking(without, 'class="baseline"')).toHaveLength(1);
    expect(lacking(without, 'peed-up')).toHaveLength(1);
  });

  test('escapes what comes from the input, in text and in plots', async () => {
    const { page } = await sweepReport({ traces: ['<script>alert("x")</script>'], keys: ['ways'] });
    expect(page.match(/<script\b/g), 'only the own script').toHaveLength(1);
    expect(lacking(page, 'alert("x")')).toHaveLength(1);
    expect(lacking(page, '&#60;script&#62;alert(&#34;x&#34;)')).toEqual([]);
  });

  test('has the same bytes every time', async () => {
    const { dir, page } = await sweepReport();
    expect((await reportPage(dir)) === page).toBe(true);
  });

  test('draws what matters: walks do not depend on where tables live', async () => {
    const { page } = await sweepReport();
    expect(lacking(page, 'Walks (per 1,000 accesses), redis-server; does not depend on tables')).toEqual([]);
    expect(page.match(/Remote share \(of walk references\), redis-server; hardly depends on pageSize/)).not.toBeNull();
  });

  test.each([
    ['one varied key', ['ways']],
    ['two varied keys', ['pageSize', 'tables']],
    ['no varied key', []],
  ] as const)('can be drawn with %s', async (_name, keys) => {
    const { page, manifest } = await sweepReport({ keys: [...keys] });
    expect(page.match(/<svg role="img"/g)!.length).toBeGreaterThanOrEqual(manifest.traces.length);
    expect(nonsense(page)).toBeNull();
  });

  test('of many cells draws heat maps, and the fastest and the slowest cells', async () => {
    // Ways change the walks and `local` what a reference costs, so cycles depend on both: ten ways x nine placements.
    const ways = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const tables = ['local', ...[1, 2, 3, 4, 5, 6, 7, 8].map((node) => `node ${node}`)];
    const { page } = await sweepReport({ traces: ['one'], keys: ['ways', 'tables'], ways, tables });
    expect(lacking(page, 'Of 90 cells per trace the 16 fastest and slowest are drawn')).toEqual([]);
    // A heat map has one rectangle per cell, in six shades: 10 x 9.
    const shades = /<figcaption>Cycles \(per access\).*?<\/figure>/s.exec(page)![0].match(/fill="var\(--s\d\)"/g)!;
    expect(shades.length).toBeGreaterThanOrEqual(90);
    expect(nonsense(page)).toBeNull();
    expect(references(page)).toEqual([]);
  });

  test('names the cells that have not been run', async () => {
    const dir = directory();
    const manifest = writeSweep(dir, { keys: ['ways'] });
    manifest.cells[2].done = false;
    manifest.cells[7].done = false;
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest));
    expect(lacking(await reportPage(dir), '8, of which 2 have not been run: 2, 7')).toEqual([]);
  });
});

describe('a replay', () => {
  test('shows totals, phases, busy CPUs and nodes, and refers to nothing outside', async () => {
    const dir = directory();
    const { totals } = writeReplay(dir);
    const page = await reportPage(dir);
    expect(references(page)).toEqual([]);
    expect(lacking(page, `<td>walk.refs</td><td class="n" data-v="${totals.walk.refs}">`)).toEqual([]);
    for (const { name, phase } of PHASES) expect(lacking(page, `<td>${name} (${phase})</td>`)).toEqual([]);
    expect(lacking(page, '<td>CPU 3 (node 1)</td>')).toEqual([]);
    // CPUs 0 and 2 never run in the generator.
    expect(lacking(page, '<td>CPU 2 (node 1)</td>')).toHaveLength(1);
    expect(lacking(page, '2 CPUs have no row')).toEqual([]);
    expect(lacking(page, '<td>Node 1</td>')).toEqual([]);
    expect(nonsense(page)).toBeNull();
    expect((await reportPage(dir)) === page).toBe(true);
  });

  test('escapes the name of the trace', async () => {
    const dir = directory();
    writeReplay(dir, '<script>');
    expect((await reportPage(dir)).match(/<script\b/g)).toHaveLength(1);
  });
});

describe('errors', () => {
  const message = async (dir: string) => {
    const error = await reportPage(dir).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(NodewalkError);
    return (error as Error).message;
  };

  test('a directory that is missing, a file, or holds no results', async () => {
    const dir = directory();
    expect(await message(dir)).toBe(
      `${dir}: expected a directory with manifest.json (sweep -o) or summary.json (replay -o), found no such directory`,
    );
    writeFileSync(dir, '');
    expect(await message(dir)).toContain('found a file');
    const empty = directory();
    mkdirSync(empty);
    expect(await message(empty)).toContain('found neither');
  });

  test('a damaged manifest or summary, by file and key', async () => {
    const dir = directory();
    const manifest = writeSweep(dir, { keys: ['ways'] });
    const cell = join(dir, manifest.cells[1].file);
    writeFileSync(cell, readFileSync(cell, 'utf8').slice(0, 100));
    expect(await message(dir)).toMatch(new RegExp(`^${cell}: expected a summary .*, found no JSON`));
    rmSync(cell);
    expect(await message(dir)).toContain(`${cell}: expected a summary (nodewalk.summary/1), found no such file`);
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify({ ...manifest, schema: 'nodewalk.sweep/9' }));
    expect(await message(dir)).toContain('manifest.json: key schema: expected a sweep manifest (nodewalk.sweep/1)');
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify({ ...manifest, traces: [] }));
    expect(await message(dir)).toContain('manifest.json: cell 0: expected the name or path of one of the traces');
  });
});

test('the command writes report.html into the directory, whole', async () => {
  const dir = directory();
  writeReplay(dir);
  const program = new Command().exitOverride();
  register(program);
  await program.parseAsync(['report', dir], { from: 'user' });
  expect(readFileSync(join(dir, 'report.html'), 'utf8') === (await reportPage(dir))).toBe(true);
  const missing = join(dir, 'none', 'page.html');
  await expect(program.parseAsync(['report', dir, '-o', missing], { from: 'user' })).rejects.toThrow(
    `${missing}: cannot write: no such directory`,
  );
});
