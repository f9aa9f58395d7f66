// The architectural walk of one address (docs/paging.md): stage 1, stage 2, or both, without any cache. Under stage 2 every
// stage-1 descriptor and then the output of stage 1 is at an intermediate address, which stage 2 translates first.
import { armStage1Tables, armStage2Tables } from './arm.js';
import { type Tables, type Walk, walk } from './tables.js';
import { type Access, type Memory, type Outcome, type Regime, type Stage1, type Stage2, type Step } from './types.js';
import { eptTables, x86Tables } from './x86.js';

const READ: Access = { kind: 'read', user: false };

/** What a half of the address space without a table has. */
const NOTHING: Walk = { status: 'fault', level: 0, pageBytes: 0n, entry: 0n, output: null };
const NOTHING_CODE = 0b000100; // Arm: translation fault, level 0

function stage2Tables(stage2: Stage2): Tables {
  return stage2.kind === 'ept' ? eptTables(stage2) : armStage2Tables(stage2);
}

/** The tables that serve an address; null in a half that has none. */
function stage1Tables({ x86, low, high }: Stage1, va: bigint): Tables | null {
  if (x86) return x86Tables(x86);
  const halves = high !== undefined;
  const chosen = halves && ((va >> 55n) & 1n) === 1n ? high : low;
  return chosen ? armStage1Tables(chosen, halves) : null;
}

/** Translates an address; without an access only presence decides. Throws where a descriptor lies outside memory. */
export function translate(memory: Memory, regime: Regime, address: bigint, access: Access | null): Outcome {
  const steps: Step[] = [];
  const second = regime.stage2 && stage2Tables(regime.stage2);

  function read(stage: 1 | 2, level: number, entryPa: bigint, index: bigint): bigint {
    const entry = memory(entryPa);
    if (entry === null) throw new Error(`no memory at 0x${entryPa.toString(16)}, stage ${stage} level ${level}`);
    steps.push({ stage, level, tablePa: entryPa - 8n * index, entryPa, entry });
    return entry;
  }

  /** Stage 2 of one intermediate address. */
  function translateIpa(ipa: bigint, needed: Access | null): Walk {
    return walk(second!, ipa, needed, (level, table, index) => read(2, level, table + 8n * index, index)) as Walk;
  }

  if (regime.stage1 === null) {
    const { status, level, pageBytes, entry, output } = translateIpa(address, access);
    return {
      status,
      pa: output,
      level,
      pageBytes,
      s2Level: level,
      s2PageBytes: pageBytes,
      entry,
      code: status === 'ok' ? 0 : second!.code(status, level, access),
      stage: 2,
      s1ptw: false,
      ipa: address,
      steps,
    };
  }

  /** What stage 2 refuses, stage 1 having come as far as `level`. */
  function refusedBySecond(ipa: bigint, by: Walk, level: number, pageBytes: bigint, s1ptw: boolean): Outcome {
    const status = by.status as Exclude<Walk['status'], 'ok'>;
    const unmapped = s1ptw ? 's2-fault-on-s1-walk' : 's2-fault';
    return {
      status: status === 'fault' ? unmapped : status,
      pa: null,
      level,
      pageBytes,
      s2Level: by.level,
      s2PageBytes: by.pageBytes,
      entry: by.entry,
      code: second!.code(status, by.level, access),
      stage: 2,
      s1ptw,
      ipa,
      steps,
    };
  }

  let blocked: { ipa: bigint; by: Walk } | undefined;
  /** A stage-1 descriptor; null when stage 2 does not let the walk read it. */
  function readFirst(level: number, table: bigint, index: bigint): bigint | null {
    const ipa = table + 8n * index;
    if (second === null) return read(1, level, ipa, index);
    const by = translateIpa(ipa, access && READ);
    if (by.output !== null) return read(1, level, by.output, index);
    blocked = { ipa, by };
    return null;
  }

  const tables = stage1Tables(regime.stage1, address);
  const first = tables ? walk(tables, address, access, readFirst) : NOTHING;
  if ('lost' in first) return refusedBySecond(blocked!.ipa, blocked!.by, first.lost, 0n, true);

  const { status, level, pageBytes, entry, output } = first;
  const outcome = { status, pa: output, level, pageBytes, entry, stage: 1 as const, s1ptw: false, steps };
  if (status !== 'ok') {
    const code = tables ? tables.code(status, level, access) : NOTHING_CODE;
    return { ...outcome, code, s2Level: null, s2PageBytes: null, ipa: null };
  }
  if (second === null) return { ...outcome, code: 0, s2Level: null, s2PageBytes: null, ipa: null };

  const ipa = output!;
  const last = translateIpa(ipa, access);
  if (last.output === null) return refusedBySecond(ipa, last, level, pageBytes, false);
  return { ...outcome, pa: last.output, code: 0, s2Level: last.level, s2PageBytes: last.pageBytes, ipa };
}
