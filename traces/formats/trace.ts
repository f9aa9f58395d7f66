// nodewalk's own trace as an input of convert: to be given physical addresses or written in another format.

import { basename } from 'node:path';
import { otherCounts } from '../counts.js';
import { type TraceFormat } from '../format.js';
import { schemaAtStart } from '../ipc.js';
import { metadataWith } from '../metadata.js';
import { TraceReader } from '../reader.js';
import { isTrace } from '../schema.js';
import { isArrowFile } from '../sniff.js';

/** The required columns; where the schema is not at the start of the file, their names are in some header there. */
const REQUIRED = ['cpu', 'kind', 'va'];

export const trace: TraceFormat = {
  name: 'trace',
  description: "nodewalk's own trace (Arrow IPC file)",
  addresses: 'as in the trace',
  detect(head) {
    const schema = schemaAtStart(head);
    if (schema) return isTrace(schema);
    if (!isArrowFile(head)) return false;
    const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 8192)).toString('latin1');
    return REQUIRED.every((name) => text.includes(name));
  },
  async parse(input) {
    const reader = await TraceReader.open(input.seekable('its record batches are found from its end'));
    let done = 0;
    async function* batches() {
      try {
        for await (const batch of reader.batches()) {
          yield batch;
          done += batch.rows;
        }
      } finally {
        await reader.close();
      }
    }
    const known = reader.metadata ?? metadataWith({ source: { tool: basename(input.path), command: null, input: [] } });
    return {
      columns: reader.columns,
      batches: batches(),
      taken: () => (reader.rows === 0 ? 0 : Math.floor((done / reader.rows) * reader.bytes)),
      // Rows are counted as they pass; what else was counted stays.
      metadata: () => ({ ...known, counts: otherCounts(known.counts) }),
    };
  },
};
