// Compares translations with a truth.csv: what the emulated machine's own walker answered, and an independent one.

import { readCsv } from '../../../host/tables/csv.js';
import { type Translator } from '../../../host/tables/translate.js';

const COLUMNS = ['context', 'va', 'qemu_pa', 'walker_status', 'walker_level', 'page_bytes', 'leaf_entry'] as const;

/** Reads a list of answers and gives the rows that the image translates differently, and how many rows there are. */
export async function disagreements(
  translator: Translator,
  path: string,
): Promise<{ rows: number; wrong: { expected: object; got: object }[] }> {
  const wrong: { expected: object; got: object }[] = [];
  let rows = 0;
  for await (const { fields } of readCsv(path, { required: COLUMNS })) {
    const [context, va, machinePa, walkerStatus, level, pageBytes, entry] = fields as string[];
    // "ok+s2L2": translated, the leaf of stage 2 being at level 2.
    const [status, stage2] = walkerStatus.split('+s2L');
    const ok = status === 'ok';
    const expected = {
      ...{ context, va, status, level: Number(level), pageBytes: BigInt(pageBytes) },
      pa: ok ? BigInt(machinePa) : null,
      s2Level: stage2 === undefined ? null : Number(stage2),
      entry: ok ? BigInt(entry) : null,
    };
    const outcome = translator.translate(context, BigInt(va), null);
    const got = {
      ...{ context, va, status: outcome.status, level: outcome.level, pageBytes: outcome.pageBytes, pa: outcome.pa },
      s2Level: ok && !context.startsWith('s2_') ? outcome.s2Level : null,
      entry: ok ? outcome.entry : null,
    };
    const same = Object.entries(expected).every(([key, value]) => got[key as keyof typeof got] === value);
    if (!same) wrong.push({ expected, got });
    rows++;
  }
  return { rows, wrong };
}
