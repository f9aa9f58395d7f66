// One translation step by step, for somebody who debugs a page table: the descriptors in the order of the walk, each
// taken apart, stage-2 walks under the stage-1 step that they serve, and the outcome with the architecture's own code.

import { InputError } from '../../traces/errors.js';
import { describe, type Descriptor } from './fields.js';
import { type Regime } from './regimes.js';
import { type Checks, type Translator } from './translate.js';
import { type Access, type Outcome, type Step } from './walker.js';

/** A descriptor that was read. */
export interface ExplainedStep extends Step {
  /** Of the entry in its table. */
  index: number;
  descriptor: Descriptor;
}

/** A stage-1 step, or the last access: the stage-2 steps that translate its IPA, then the stage-1 descriptor. */
export interface Stride {
  /** Under stage 2: the IPA of the descriptor, or the final one. */
  ipa: bigint | null;
  stage2: ExplainedStep[];
  /** Null for the last access, and where stage 2 refuses a table. */
  stage1: ExplainedStep | null;
}

/** A translation through one root, or through several that do the same. */
export interface Explanation {
  roots: string[];
  regime: Regime;
  address: bigint;
  /** Null: a probe. */
  access: Access | null;
  outcome: Outcome;
  /** What the CPU would report, line by line; empty when translated. */
  report: string[];
  strides: Stride[];
}

/** Explains a translation through one root. */
export function explain(translator: Translator, root: string, address: bigint, checks: Checks | null): Explanation {
  const outcome = translator.translate(root, address, checks);
  const regime = translator.regime(root);
  const strides = stridesOf(regime, address, outcome, translator.steps());
  const access = translator.access(root, address, checks);
  return { roots: [root], regime, address, access, outcome, report: report(regime, outcome), strides };
}

/**
 * Explains a translation through every stage-1 root that covers the address, equal ones together; through the first root when
 * none does. Roots whose tables the image lacks are left out and named to `leaveOut`, unless nothing else remains.
 */
export function explainAll(
  translator: Translator,
  address: bigint,
  checks: Checks | null,
  leaveOut: (reason: InputError) => void,
): Explanation[] {
  const groups = new Map<string, Explanation>();
  const uncovered: Explanation[] = [];
  const missing: InputError[] = [];
  for (const root of translator.rootNames.filter((name) => !name.startsWith('s2_'))) {
    try {
      const explanation = explain(translator, root, address, checks);
      if (explanation.strides.length === 0) {
        uncovered.push(explanation);
        continue;
      }
      const key = JSON.stringify({ ...explanation, roots: null }, (_, value) =>
        typeof value === 'bigint' ? value.toString() : (value as unknown),
      );
      const known = groups.get(key);
      if (known) known.roots.push(root);
      else groups.set(key, explanation);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      missing.push(error);
    }
  }
  const found = groups.size > 0 ? [...groups.values()] : uncovered.slice(0, 1);
  if (found.length === 0) throw missing[0];
  for (const reason of missing) leaveOut(reason);
  return found;
}

function stridesOf(regime: Regime, address: bigint, outcome: Outcome, steps: readonly Step[]): Stride[] {
  const strides: Stride[] = [];
  let stage2: ExplainedStep[] = [];
  /** Where stage 1 has got to: an IPA under stage 2. */
  let table = (regime.x86 ?? regime.stage1)?.root ?? 0n;
  const nested = regime.ept ?? regime.stage2;
  for (const step of steps) {
    const index = Number((step.entryPa - step.tablePa) / 8n);
    const explained = { ...step, index, descriptor: describe(regime, step.stage, step.level, step.entry) };
    if (step.stage === 2) {
      stage2.push(explained);
      continue;
    }
    strides.push({ ipa: nested ? table + BigInt(8 * index) : null, stage2, stage1: explained });
    stage2 = [];
    table = explained.descriptor.address ?? 0n;
  }
  // What is left served the final IPA, or the descriptor that stage 2 refused.
  if (stage2.length > 0) strides.push({ ipa: outcome.ipa ?? address, stage2, stage1: null });
  return strides;
}

const ERROR_CODE_BITS = ['P (present)', 'W (write)', 'U (user)', 'RSVD (reserved bit)', 'I (fetch)'];
const FSC_KINDS = ['address size fault', 'translation fault', 'access flag fault', 'permission fault'];

function report(regime: Regime, outcome: Outcome): string[] {
  const { status, code, stage, ipa } = outcome;
  if (status === 'ok') return [];
  if (status === 'noncanon') return ['general-protection exception (#GP), or #SS for a stack access; error code 0'];
  if (regime.ept && stage === 2) return [`EPT violation at guest-physical address 0x${(ipa ?? 0n).toString(16)}`];
  if (regime.x86) {
    const bits = ERROR_CODE_BITS.filter((_, i) => code & (1 << i));
    return [`page fault (#PF), error code ${[`0x${code.toString(16)}`, ...bits].join(', ')}`];
  }
  const lines = [
    `ESR.FSC 0x${code.toString(16).padStart(2, '0')}: ${FSC_KINDS[fscKind(code)]}, level ${fscLevel(code)}`,
  ];
  if (stage !== 2 || ipa === null) return lines;
  const table = regime.stage1 !== undefined && outcome.pageBytes === 0n;
  lines.push(`ESR.S1PTW ${table ? '1: stage 2 of a stage-1 table' : '0'}`);
  // HPFAR_EL2.FIPA, bits 43:4, is IPA[51:12]; a permission fault of the final IPA leaves it unknown.
  const known = table || status !== 'permission';
  lines.push(`IPA 0x${ipa.toString(16)}${known ? `, HPFAR_EL2 0x${((ipa >> 12n) << 4n).toString(16)}` : ''}`);
  return lines;
}

/** Level -1 has codes of its own. */
const MINUS_ONE = { addressSize: 0b101001, translation: 0b101011 };

function fscKind(code: number): number {
  return code === MINUS_ONE.addressSize ? 0 : code === MINUS_ONE.translation ? 1 : code >> 2;
}

function fscLevel(code: number): number {
  return code === MINUS_ONE.addressSize || code === MINUS_ONE.translation ? -1 : code & 3;
}
