// Cuts small table images for the tests out of the captured ones:
//   npm run build && node dist/tools/table-fixtures.js IMAGES [OUTPUT]
// IMAGES is a folder of table images, each with a truth.csv; OUTPUT is test/fixtures/tables unless named. Of every image about 50
// rows of truth.csv are kept, of each root, status, level and page size some, and the table pages that they need. The pages
// are packed with gzip, whose result depends on nothing but them.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { NodewalkError } from '../traces/errors.js';
import { readCsv } from '../host/tables/csv.js';
import { loadPages, type TablePage } from '../host/tables/image.js';
import { Translator } from '../host/tables/translate.js';

const ROWS = 50;
const MAX_BYTES = 100_000;
const HEADER = 'context,cpu,va,qemu_pa,walker_status,walker_level,page_bytes,leaf_entry,agree';
const COLUMNS = HEADER.split(',');
/** What makes two rows the same kind: context, status, level, page size. */
const KIND = [0, 4, 5, 6];

type Row = string[];

/** About ROWS rows: one of each kind, then the next of each, spread over all that there are. */
function choose(rows: readonly Row[]): Row[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const kind = KIND.map((i) => row[i]).join();
    groups.set(kind, [...(groups.get(kind) ?? []), row]);
  }
  const kinds = [...groups.values()];
  const each = Math.ceil(ROWS / kinds.length);
  return kinds.flatMap((kind) => {
    const count = Math.min(each, kind.length);
    return Array.from({ length: count }, (_, i) => kind[Math.floor((i * kind.length) / count)]);
  });
}

async function cut(image: string, output: string): Promise<void> {
  const rows: Row[] = [];
  for await (const { fields } of readCsv(join(image, 'truth.csv'), { required: COLUMNS })) rows.push(fields as Row);
  const chosen = choose(rows);
  const translator = await Translator.open(image);
  const needed = new Set<bigint>();
  for (const [context, , va] of chosen) {
    translator.translate(context, BigInt(va), null);
    for (const { entryPa } of translator.steps()) needed.add(entryPa);
  }
  const isNeeded = ({ pa, bytes }: TablePage) => [...needed].some((entry) => entry >= pa && entry < pa + BigInt(bytes));
  const pages = new Map<TablePage, Uint8Array>();
  loadPages(translator.image, (page) => {
    const bytes = new Uint8Array(page.bytes);
    if (isNeeded(page)) pages.set(page, bytes);
    return bytes;
  });
  const packed = gzipSync(Buffer.concat([...pages.values()]), { level: 9 });
  if (packed.length > MAX_BYTES) throw new NodewalkError(`${image}: ${packed.length} bytes of table pages, too many`);
  const { arch, granule, levels, cpus } = JSON.parse(readFileSync(join(image, 'registers.json'), 'utf8'));
  mkdirSync(output, { recursive: true });
  writeFileSync(join(output, 'registers.json'), `${JSON.stringify({ arch, granule, levels, cpus }, null, 1)}\n`);
  writeFileSync(join(output, 'tablepages.bin.gz'), packed);
  const list = [...pages.keys()].map(({ pa, bytes, roles }, i) => [i, `0x${pa.toString(16)}`, bytes, roles.join(' ')]);
  writeFileSync(join(output, 'tablepages.csv'), lines([['index', 'pa', 'bytes', 'roles'], ...list]));
  writeFileSync(join(output, 'truth.csv'), lines([[...COLUMNS], ...chosen]));
}

function lines(rows: readonly (readonly (string | number)[])[]): string {
  return rows.map((row) => `${row.join()}\n`).join('');
}

const [images, output = 'test/fixtures/tables'] = process.argv.slice(2);
if (images === undefined) {
  process.stderr.write('usage: table-fixtures IMAGES [OUTPUT]\n');
  process.exit(2);
}
for (const name of readdirSync(images).sort()) {
  await cut(join(images, name), join(output, name));
  process.stderr.write(`${name}\n`);
}
