// A decoded record as the fields that it has, in the encoder's form.

import {
  HAS_CONTEXT,
  HAS_EVENTS,
  HAS_ISSUE,
  HAS_OPERATION,
  HAS_PA,
  HAS_PC,
  HAS_SOURCE,
  HAS_TIMESTAMP,
  HAS_TOTAL,
  HAS_TRANSLATION,
  HAS_VA,
  type SpeRecords,
} from '../../../traces/spe/decode.js';
import { type SpeRecord } from '../../../traces/spe/encode.js';

/** The fields of record `i` that are there. */
export function recordAt(records: SpeRecords, i: number): SpeRecord {
  const has = (bit: number) => (records.fields[i] & bit) !== 0;
  return {
    ...(has(HAS_PC) && { pc: records.pc[i], el: records.el[i] }),
    ...(has(HAS_CONTEXT) && { context: records.context[i], contextEl: records.contextEl[i] }),
    ...(has(HAS_OPERATION) && { operationClass: records.operationClass[i], operation: records.operation[i] }),
    ...(has(HAS_EVENTS) && { events: records.events[i] }),
    ...(has(HAS_TOTAL) && { total: records.total[i] }),
    ...(has(HAS_ISSUE) && { issue: records.issue[i] }),
    ...(has(HAS_TRANSLATION) && { translation: records.translation[i] }),
    ...(has(HAS_VA) && { va: records.va[i] }),
    ...(has(HAS_SOURCE) && { source: records.source[i] }),
    ...(has(HAS_PA) && { pa: records.pa[i] }),
    ...(has(HAS_TIMESTAMP) && { timestamp: records.timestamp[i] }),
  };
}
