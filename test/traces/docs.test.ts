// docs/formats.md repeats the tables of the code for people to read; here it is held to them.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../traces/detect.js';
import { EXPORTERS } from '../../traces/export/index.js';
import { EVENTS } from '../../traces/events.js';
import { metadataWith } from '../../traces/metadata.js';
import { MACHINES } from '../../traces/machines.js';
import { COLUMNS } from '../../traces/schema.js';

const text = readFileSync(fileURLToPath(new URL('../../docs/formats.md', import.meta.url)), 'utf8');
/** The cells of every table row. */
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );

describe('docs/formats.md', () => {
  it.each(COLUMNS.map((column) => [column.name, column] as const))('has the column %s', (name, column) => {
    const type = `${column.type}`.toLowerCase();
    expect(rows).toContainEqual([`\`${name}\``, type, column.required ? 'yes' : '', column.description]);
  });

  it.each(EVENTS.map((event) => [event.name, event] as const))('has the event %s', (name, { kind, va, arg, more }) => {
    expect(rows).toContainEqual([String(kind), `\`${name}\``, va ?? '', arg ?? '', (more ?? []).join('; ')]);
  });

  it('has every format, every known machine and every key of the metadata', () => {
    for (const { name } of FORMATS) expect(text).toContain(`\`${name}\``);
    for (const { name } of EXPORTERS) expect(rows.map((cells) => cells[0])).toContain(`\`${name}\``);
    for (const name of Object.keys(MACHINES)) expect(text).toContain(`\`${name}\``);
    for (const key of Object.keys(metadataWith())) expect(rows.map((cells) => cells[0])).toContain(`\`${key}\``);
  });
});
