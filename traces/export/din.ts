// Dinero's "din" text: a label and a hexadecimal address a line (traces/formats/din.ts). Rows of all CPUs follow one
// another as in the trace.

import { FETCH, LOAD, STORE, type Batch } from '../batch.js';
import { type ExportOptions, type TraceExporter } from './format.js';
import { TextPiece, wordsOf } from './text.js';

const SPACE = 32;
const NEWLINE = 10;
const LABELS: Readonly<Record<number, string>> = { [LOAD]: '0', [STORE]: '1', [FETCH]: '2' };

async function* encode(batches: AsyncIterable<Batch>, { output, warn }: ExportOptions): AsyncGenerator<Uint8Array> {
  const piece = new TextPiece();
  let events = 0;
  for await (const { rows, kind, va } of batches) {
    const words = wordsOf(va);
    for (let i = 0; i < rows; i++) {
      if (kind[i] > STORE) {
        events++;
        continue;
      }
      piece.text(LABELS[kind[i]]);
      piece.char(SPACE);
      piece.hex(words[2 * i], words[2 * i + 1]);
      piece.char(NEWLINE);
      if (piece.full) yield piece.take();
    }
  }
  yield piece.take();
  if (events > 0) warn(`${output}: left out ${events} rows of events: din has none`);
}

export const din: TraceExporter = {
  name: 'din',
  description: 'Dinero, text of labels and addresses',
  loses: 'events and every column but kind and va',
  encode,
};
