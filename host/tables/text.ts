// Translations as text: the columns of `translate`, the pages of `explain`, and both as JSON documents. Addresses and
// sizes are hexadecimal with 0x, in JSON as text too: a JSON number does not hold 64 bits.

import { type Explanation, type ExplainedStep, type Stride } from './explain.js';
import { type Descriptor } from './fields.js';
import { type ArmStage1, type ArmStage2, type Regime } from './regimes.js';
import { type Outcome, type Step } from './walker.js';

/** An address as 0x and hexadecimal digits. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/** An address as people write it: hexadecimal with 0x, or decimal. Null when it is neither or needs more than 64 bits. */
export function parseAddress(text: string): bigint | null {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const value = BigInt(text);
  return value >> 64n === 0n ? value : null;
}

/** One answer: the root and address asked for, and what came of it. */
export interface Answer {
  context: string;
  va: bigint;
  outcome: Outcome;
}

const COLUMNS = 'context,va,status,pa,level,pageBytes';
const LONG_COLUMNS = 'permissions,s2Level,s2PageBytes,entry';

/** The header of the CSV. */
export function csvHeader(long: boolean): string {
  return `${COLUMNS}${long ? `,${LONG_COLUMNS}` : ''}\n`;
}

/** An answer as a row of the CSV. */
export function csvRow({ context, va, outcome }: Answer, long: boolean): string {
  const { status, pa, level, pageBytes, s2Level, s2PageBytes, entry } = outcome;
  const row = `${context},${hex(va)},${status},${pa === null ? '' : hex(pa)},${level},${hex(pageBytes)}`;
  if (!long) return `${row}\n`;
  return `${row},${permissionText(outcome) ?? ''},${s2Level ?? ''},${hex(s2PageBytes)},${hex(entry)}\n`;
}

/** An answer as an object for JSON. */
export function answerDocument({ context, va, outcome }: Answer, steps: readonly Step[]): object {
  return { context, va: hex(va), ...outcomeDocument(outcome), steps: steps.map(stepDocument) };
}

/** An explanation as an object for JSON. */
export function explanationDocument({ roots, address, access, outcome, report, strides }: Explanation): object {
  const step = ({ index, descriptor, ...read }: ExplainedStep) => ({
    ...stepDocument(read),
    index,
    kind: descriptor.kind,
    address: descriptor.address === null ? null : hex(descriptor.address),
    fields: Object.fromEntries(descriptor.fields.map(({ name, value }) => [name, value])),
  });
  return {
    roots,
    va: hex(address),
    access,
    ...outcomeDocument(outcome),
    report,
    steps: strides.map(({ ipa, stage1, stage2 }) => ({
      ipa: ipa === null ? null : hex(ipa),
      stage2: stage2.map(step),
      stage1: stage1 && step(stage1),
    })),
  };
}

function outcomeDocument(outcome: Outcome): object {
  const { status, pa, level, pageBytes, s2Level, s2PageBytes, entry, code, stage, ipa } = outcome;
  return {
    status,
    pa: pa === null ? null : hex(pa),
    level,
    pageBytes: hex(pageBytes),
    permissions: permissionText(outcome),
    s2Level,
    s2PageBytes: hex(s2PageBytes),
    entry: hex(entry),
    code,
    stage,
    ipa: ipa === null ? null : hex(ipa),
  };
}

function stepDocument({ stage, level, tablePa, entryPa, entry }: Step): object {
  return { stage, level, tablePa: hex(tablePa), entryPa: hex(entryPa), entry: hex(entry) };
}

/** "user r-x kernel rw-"; null unless translated. */
function permissionText({ permissions }: Outcome): string | null {
  if (permissions === null) return null;
  const three = (bits: number) => [...'rwx'].map((letter, i) => (bits & (1 << i) ? letter : '-')).join('');
  return `user ${three(permissions)} kernel ${three(permissions >> 3)}`;
}

/** An explanation as a page of text. */
export function explanationText(explanation: Explanation): string {
  const { roots, regime, address, access, outcome, report, strides } = explanation;
  const what = access ? `, ${access.kind} by the ${access.user ? 'user' : 'kernel'}` : '';
  const lines = [`${roots.join(', ')}: ${hex(address)}${what}`, ...regimeLines(regime), ''];
  for (const stride of strides) lines.push(...strideLines(stride, regime));
  if (strides.length === 0) lines.push('no table covers the address: nothing is read');
  return [...lines, '', outcomeText(outcome, regime), ...report.map((line) => `  ${line}`)].join('\n') + '\n';
}

function regimeLines({ x86, ept, stage1, stage2 }: Regime): string[] {
  const below = ept ? [`  stage 2: EPT, ${ept.levels} levels, root ${hex(ept.root)}`] : [];
  if (x86) {
    const controls = { WP: x86.writeProtect, NXE: x86.noExecute, SMEP: x86.smep, SMAP: x86.smap };
    return [`  x86-64, ${x86.levels} levels, root ${hex(x86.root)}${setOf(controls)}`, ...below];
  }
  const lines = below;
  if (stage1) {
    const { single, high, notWalked, noHierarchy, topByteIgnore, writeExecuteNever } = stage1;
    const controls = { EPD: notWalked, HPD: noHierarchy, TBI: topByteIgnore, WXN: writeExecuteNever };
    lines.push(`  stage 1, ${single ? 'EL2' : high ? 'TTBR1' : 'TTBR0'}: ${armText(stage1)}${setOf(controls)}`);
  }
  if (stage2) lines.push(`  stage 2: ${armText(stage2)}`);
  return lines;
}

function armText({
  root,
  pageShift,
  bits,
  outputBits,
  ds,
  hardwareAccess,
  hardwareDirty,
}: ArmStage1 | ArmStage2): string {
  const granule = sizeText(1n << BigInt(pageShift));
  const flags = setOf({ DS: ds, HA: hardwareAccess, HD: hardwareDirty });
  return `${granule} granule, ${bits} bits to ${outputBits}, root ${hex(root)}${flags}`;
}

function setOf(controls: Record<string, boolean>): string {
  return Object.entries(controls)
    .filter(([, set]) => set)
    .map(([name]) => `, ${name}`)
    .join('');
}

function strideLines({ ipa, stage1, stage2 }: Stride, { x86, stage1: arm }: Regime): string[] {
  const nested = x86 ?? arm;
  const indent = nested ? '    ' : '';
  const below = stage2.flatMap((step) => stepLines(step).map((line) => `${indent}${line}`));
  if (!stage1) return nested ? [`IPA ${hex(ipa!)} through stage 2:`, ...below] : below;
  const [read, entry] = stepLines(stage1, ipa !== null);
  return ipa === null ? [read, entry] : [`${read}, IPA ${hex(ipa)}, through stage 2:`, ...below, entry];
}

/** Where a descriptor was read, and what it holds; fields that are 0 and mean nothing then are left out. */
function stepLines({ stage, level, tablePa, index, entryPa, entry, descriptor }: ExplainedStep, ipa = false): string[] {
  return [
    `stage ${stage} level ${level}: table ${hex(tablePa)} index ${index}, entry at ${hex(entryPa)}`,
    `  ${hex(entry)}: ${descriptorText(descriptor, ipa)}`,
  ];
}

/** A descriptor's kind, address and fields. */
export function descriptorText({ kind, address, fields }: Descriptor, ipa: boolean): string {
  const what = { table: 'next table at', leaf: 'maps', invalid: 'not valid' }[kind];
  const where = address === null ? '' : ` ${ipa ? 'IPA ' : ''}${hex(address)}`;
  const values = fields
    .filter(({ value, meaning }) => value !== 0 || meaning)
    .map(({ name, value, meaning }) => `${name}=${value}${meaning ? ` (${meaning})` : ''}`);
  return [`${what}${where}`, ...values].join('; ');
}

function outcomeText(outcome: Outcome, { x86, ept, stage1, stage2 }: Regime): string {
  const { status, pa, level, pageBytes, s2Level, s2PageBytes } = outcome;
  if (status !== 'ok') return `${status} at level ${level}`;
  const under = (stage1 ?? x86) && (stage2 ?? ept) ? `, ${sizeText(s2PageBytes)} at level ${s2Level} of stage 2` : '';
  return `ok: PA ${hex(pa!)}, ${sizeText(pageBytes)} at level ${level}${under}, ${permissionText(outcome)}`;
}

const UNITS = ['', 'K', 'M', 'G', 'T'];

/** 2097152 as "2M". */
function sizeText(bytes: bigint): string {
  let unit = 0;
  while (bytes >= 1024n) {
    bytes /= 1024n;
    unit++;
  }
  return `${bytes}${UNITS[unit]}`;
}
