// The architectural walker against cases worked out by hand from docs/paging.md and the manuals it names. Each expected
// number is derived beside it.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { malformed, wellFormed } from './arch/arbitrary.js';
import { faultStatusCode } from './arch/arm.js';
import {
  Image,
  intermediately,
  memoryOf,
  physically,
  shapeOfArm,
  shapeOfStage2,
  shapeOfX86,
  Tree,
} from './arch/build.js';
import { addressInArm, ARM, armAddress, armBlock, armPage, kvmAttributes, X86, x86Leaf } from './arch/encode.js';
import { armLevels, kvmStart, stage1Start } from './arch/geometry.js';
import { permissionCases } from './arch/permissions.js';
import { translate } from './arch/translate.js';
import {
  type Access,
  type ArmStage1,
  type ArmStage2,
  type Ept,
  type Outcome,
  type Regime,
  type X86 as X86Regime,
} from './arch/types.js';

const K = 1n << 10n;
const M = 1n << 20n;
const G = 1n << 30n;

const x86: X86Regime = { root: 0n, levels: 4, maxPhysBits: 52, wp: true, smep: true, smap: true, nxe: true };
const arm: ArmStage1 = {
  root: 0n,
  granule: 4,
  bits: 48,
  outputBits: 48,
  ds: false,
  lpa: false,
  ha: false,
  hd: false,
  wxn: false,
  single: false,
  hpd: false,
  tbi: false,
  epd: false,
};
const stage2: ArmStage2 = {
  kind: 'arm',
  root: 0n,
  granule: 4,
  bits: 40,
  startLevel: 1,
  outputBits: 48,
  ds: false,
  lpa: false,
  ha: false,
  hd: false,
  xnx: false,
};
const ept: Ept = { kind: 'ept', root: 0n, levels: 4, maxPhysBits: 52 };
const access = (kind: Access['kind'], user = false): Access => ({ kind, user });

/** Memory of a few descriptors; every other address of the first 16 MiB reads 0, above there is none. */
function memory(entries: Record<string, bigint>): (pa: bigint) => bigint | null {
  const words = new Map(Object.entries(entries).map(([pa, value]) => [BigInt(pa), value]));
  return (pa) => words.get(pa) ?? (pa < 16n * M ? 0n : null);
}

const brief = ({ status, level, pageBytes, code }: Outcome) => ({ status, level, pageBytes, code });

describe('geometry', () => {
  test.each([
    // granule, VA bits -> start level, levels, root entries: n = ceil((v - ps) / (ps - 3)), entries 2^(v - ps - (n-1)(ps-3))
    [4, 39, 1, 3, 512],
    [4, 42, 0, 4, 8],
    [4, 48, 0, 4, 512],
    [4, 52, -1, 5, 16],
    [16, 36, 2, 2, 2048],
    [16, 47, 1, 3, 2048],
    [16, 48, 0, 4, 2],
    [16, 52, 0, 4, 32],
    [64, 42, 2, 2, 8192],
    [64, 48, 1, 3, 64],
    [64, 52, 1, 3, 1024],
  ] as const)('stage 1 with a %iK granule and %i bits starts at level %i', (granule, bits, start, count, entries) => {
    const levels = armLevels(granule, bits, stage1Start(granule, bits));
    expect(levels[0].level).toBe(start);
    expect(levels).toHaveLength(count);
    expect(1n << levels[0].indexBits).toBe(BigInt(entries));
  });

  test.each([
    // granule, IPA bits -> start, SL0 = (2 for 4K, else 3) - start, root entries 2^(p - bits below), root tables
    [4, 40, 1, 1, 1024, 2],
    [4, 43, 1, 1, 8192, 16],
    [4, 44, 0, 2, 32, 1],
    [4, 48, 0, 2, 512, 1],
    [4, 52, 0, 2, 8192, 16],
    [16, 40, 2, 1, 32768, 16],
    [16, 44, 1, 2, 256, 1],
    [16, 48, 1, 2, 4096, 2],
    [16, 52, 0, 3, 32, 1],
    [64, 40, 2, 1, 2048, 1],
    [64, 44, 2, 1, 32768, 4],
    [64, 48, 1, 2, 64, 1],
    [64, 52, 1, 2, 1024, 1],
  ] as const)(
    'KVM stage 2 with a %iK granule and %i bits starts at level %i',
    (granule, bits, start, sl0, entries, m) => {
      const first = kvmStart(granule, bits);
      const [root] = armLevels(granule, bits, first);
      expect([first, (granule === 4 ? 2 : 3) - first]).toEqual([start, sl0]);
      expect(1n << root.indexBits).toBe(BigInt(entries));
      expect(Math.ceil((entries * 8) / (granule * 1024))).toBe(m);
      expect(shapeOfStage2({ ...stage2, granule, bits, startLevel: first }).levels[0]).toEqual(root);
    },
  );
});

describe('descriptors', () => {
  const plain = { granule: 4, ds: false, lpa: false } as const;

  test('an x86 2M leaf of Linux kernel text', () => {
    // P | A | PS | G = 1 | 20 | 80 | 100
    expect(x86Leaf(2, 0x1_2340_0000n, X86.P | X86.A | X86.G)).toBe(0x1_2340_01a1n);
  });

  test('an Arm 4K level 2 block of Linux kernel text', () => {
    // UXN 2^54, AF 400, SH 300, AP[2] 80, bits 1:0 = 01
    const value = armBlock(plain, 0x8020_0000n, ARM.UXN | ARM.AF | ARM.SH_INNER | ARM.AP_RO);
    expect(value).toBe(0x0040_0000_8020_0781n);
  });

  test('a KVM stage-2 page that is not executable', () => {
    // XN 2^54; AF 400, SH 300, S2AP C0, MemAttr 3C, page 3 make 7FF
    expect(armPage(plain, 0x8020_0000n, ARM.UXN | kvmAttributes(plain))).toBe(0x0040_0000_8020_07ffn);
  });

  test('a KVM stage-2 page with 52-bit descriptors has no shareability', () => {
    expect(armPage({ ...plain, ds: true }, 0n, kvmAttributes({ ...plain, ds: true }))).toBe(0x4ffn);
    expect(armPage({ ...plain, granule: 64, lpa: true }, 0n, kvmAttributes({ ...plain, granule: 64, lpa: true }))).toBe(
      0x7ffn,
    );
  });

  test.each([
    // The 64K granule moves 51:48 to 15:12; the others leave 49:48 and move 51:50 to 9:8. 0xB = 10 11.
    ['64K', { granule: 64, ds: false, lpa: true }, 0xb_1234_5678_0000n, 0x1234_5678_b000n, 16n],
    ['4K', { granule: 4, ds: true, lpa: false }, 0xb_1234_5678_9000n, 0x3_1234_5678_9200n, 12n],
    ['16K', { granule: 16, ds: true, lpa: false }, 0xb_1234_5678_8000n, 0x3_1234_5678_8200n, 14n],
  ] as const)('a 52-bit address in a %s descriptor', (_name, format, pa, descriptor, shift) => {
    expect(armAddress(format, pa)).toBe(descriptor);
    expect(addressInArm(format, descriptor | 3n, shift)).toBe(pa);
  });

  test('without 52-bit descriptors the bits that would hold the rest of the address are not looked at', () => {
    expect(addressInArm({ granule: 64, ds: true, lpa: false }, 0x3_1234_5678_f303n, 16n)).toBe(0x1234_5678_0000n);
    expect(addressInArm({ granule: 4, ds: false, lpa: true }, 0x3_1234_5678_9303n, 12n)).toBe(0x1234_5678_9000n);
  });
});

test.each([
  ['address-size', 0, 0b000000],
  ['address-size', 3, 0b000011],
  ['address-size', -1, 0b101001],
  ['fault', 0, 0b000100],
  ['fault', 2, 0b000110],
  ['fault', -1, 0b101011],
  ['access-flag', 1, 0b001001],
  ['access-flag', 3, 0b001011],
  ['permission', 2, 0b001110],
  ['permission', 3, 0b001111],
] as const)('fault status code of %s at level %i', (status, level, code) => {
  expect(faultStatusCode(status, level)).toBe(code);
});

describe('x86', () => {
  // Index 1 at level 4, 2 at 3, 3 at 2, 4 at 1.
  const va = (1n << 39n) + 2n * G + 3n * 2n * M + 4n * 4n * K + 0x567n;
  const all = X86.P | X86.RW | X86.US;
  const tables = { 0x1008: 0x2000n | all, 0x2010: 0x3000n | all, 0x3018: 0x4000n | all };
  const ask = (entries: Record<string, bigint>, how: Access | null, change: Partial<X86Regime> = {}, address = va) =>
    translate(
      memory({ ...tables, ...entries }),
      { stage1: { x86: { ...x86, root: 0x1000n, ...change } }, stage2: null },
      address,
      how,
    );

  test('a walk reads one descriptor per level at table + 8 x index', () => {
    const found = ask({ 0x4020: 0xabc000n | X86.P }, null);
    expect(found).toMatchObject({
      status: 'ok',
      pa: 0xabc567n,
      level: 1,
      pageBytes: 4n * K,
      entry: 0xabc001n,
      stage: 1,
    });
    expect(found.steps.map(({ level, tablePa, entryPa }) => [level, tablePa, entryPa])).toEqual([
      [4, 0x1000n, 0x1008n],
      [3, 0x2000n, 0x2010n],
      [2, 0x3000n, 0x3018n],
      [1, 0x4000n, 0x4020n],
    ]);
  });

  test('a large page has its offset from the address', () => {
    // 2M: index 4 of level 1 and the offset are 4 x 4K + 567. 1G: index 3 of level 2 too.
    expect(ask({ 0x3018: 0x4000_0000n | all | X86.PS }, null)).toMatchObject({ pa: 0x4000_4567n, pageBytes: 2n * M });
    expect(ask({ 0x2010: 0x8000_0000n | all | X86.PS | X86.PAT }, null)).toMatchObject({
      pa: 0x8060_4567n,
      pageBytes: G,
      level: 3,
    });
  });

  test('an absent descriptor stops the walk, with P clear in the error code', () => {
    expect(brief(ask({}, access('write', true)))).toEqual({ status: 'fault', level: 1, pageBytes: 0n, code: 6 }); // W | U
    expect(brief(ask({ 0x2010: 0n }, access('fetch')))).toEqual({ status: 'fault', level: 3, pageBytes: 0n, code: 16 });
    expect(ask({}, access('fetch'), { nxe: false, smep: false }).code).toBe(0);
  });

  test('an address whose upper bits are not a sign is not canonical', () => {
    expect(brief(ask({}, null, {}, 1n << 47n))).toEqual({ status: 'noncanon', level: 0, pageBytes: 0n, code: 0 });
    expect(ask({}, null, {}, 0xffff_8000_0000_0000n).status).toBe('fault');
    expect(ask({}, null, { levels: 5 }, 1n << 47n).status).toBe('fault');
    expect(ask({}, null, { levels: 5 }, 1n << 56n).status).toBe('noncanon');
  });

  test.each([
    ['an address beyond MAXPHYADDR', { 0x3018: (1n << 46n) | all | X86.PS }, { maxPhysBits: 46 }, 2],
    ['PS at level 4', { 0x1008: 0x2000n | all | X86.PS }, {}, 4],
    ['bit 13 of a 2M leaf', { 0x3018: (1n << 13n) | all | X86.PS }, {}, 2],
    ['bit 29 of a 1G leaf', { 0x2010: (1n << 29n) | all | X86.PS }, {}, 3],
    ['NX without EFER.NXE', { 0x2010: 0x3000n | all | X86.NX }, { nxe: false }, 3],
  ] as const)('%s is reserved', (_name, entries, change, level) => {
    // P | W | RSVD = 1 | 2 | 8
    expect(brief(ask(entries, access('write'), change))).toEqual({
      status: 'reserved',
      level,
      pageBytes: 0n,
      code: 11,
    });
    expect(ask({ 0x4020: X86.P, ...entries }, null, change).status).not.toBe('reserved');
  });

  test('permissions are combined over the walk', () => {
    const page = { 0x4020: 0xabc000n | all };
    expect(ask(page, access('write', true)).status).toBe('ok');
    expect(ask({ ...page, 0x3018: 0x4000n | X86.P | X86.US }, access('write', true))).toMatchObject({
      status: 'permission',
      level: 1,
      pageBytes: 4n * K,
      code: 7, // P | W | U
    });
    expect(ask({ ...page, 0x2010: 0x3000n | all | X86.NX }, access('fetch', true))).toMatchObject({
      status: 'permission',
      code: 21, // P | U | I
    });
    expect(ask({ ...page, 0x1008: 0x2000n | X86.P | X86.RW }, access('read', true)).code).toBe(5); // P | U
  });

  test('CR0.WP, CR4.SMEP and CR4.SMAP bind the supervisor', () => {
    const user = { 0x4020: 0xabc000n | all };
    const readOnly = { 0x4020: 0xabc000n | X86.P };
    expect(ask(user, access('read')).status).toBe('permission');
    expect(ask(user, access('read'), { smap: false }).status).toBe('ok');
    expect(ask(user, access('fetch'), { smap: false }).status).toBe('permission');
    expect(ask(user, access('fetch'), { smep: false }).status).toBe('ok');
    expect(ask(readOnly, access('write')).status).toBe('permission');
    expect(ask(readOnly, access('write'), { wp: false }).status).toBe('ok');
    expect(ask(readOnly, access('read', true), { wp: false }).status).toBe('permission');
  });

  test('a table where there is no memory is an error', () => {
    expect(() => ask({ 0x1008: (1n << 40n) | all }, null)).toThrow('no memory at 0x10000000010');
  });
});

describe('Arm stage 1', () => {
  // 4K granule, 39 bits: index 1 at level 1, 2 at 2, 3 at 3.
  const va = G + 2n * 2n * M + 3n * 4n * K + 0x567n;
  const tables = { 0x1008: 0x2003n, 0x2010: 0x3003n };
  const low = { ...arm, bits: 39, root: 0x1000n };
  const page = 0xabc003n | ARM.AF;
  const ask = (
    entries: Record<string, bigint>,
    how: Access | null,
    change: Partial<ArmStage1> = {},
    address = va,
    high: ArmStage1 | null | undefined = null,
  ) =>
    translate(
      memory({ ...tables, ...entries }),
      { stage1: { low: { ...low, ...change }, ...(high !== undefined && { high }) }, stage2: null },
      address,
      how,
    );

  test('a page, a block and a descriptor that is neither', () => {
    expect(ask({ 0x3018: page }, null)).toMatchObject({ status: 'ok', pa: 0xabc567n, level: 3, pageBytes: 4n * K });
    expect(ask({ 0x2010: 0x4000_0001n }, null)).toMatchObject({ pa: 0x4000_3567n, level: 2, pageBytes: 2n * M });
    expect(ask({ 0x1008: 0x8000_0001n }, null)).toMatchObject({ pa: 0x8040_3567n, level: 1, pageBytes: G });
    expect(brief(ask({ 0x3018: 0xabc001n }, null))).toEqual({ status: 'fault', level: 3, pageBytes: 0n, code: 7 });
    expect(ask({ 0x2010: 0xabc002n }, null)).toMatchObject({ status: 'fault', level: 2, code: 6, entry: 0xabc002n });
  });

  test.each([
    // granule, bits, 52-bit descriptors, level of the root where a block stands
    [4, 48, false, 0, 'fault'],
    [4, 48, true, 0, 'ok'],
    [4, 52, true, -1, 'fault'],
    [16, 47, false, 1, 'fault'],
    [16, 47, true, 1, 'ok'],
    [16, 36, false, 2, 'ok'],
    [64, 48, false, 1, 'fault'],
    [64, 48, true, 1, 'ok'],
    [64, 42, false, 2, 'ok'],
  ] as const)('a block with a %iK granule, %i bits, 52-bit: %s, at level %i', (granule, bits, wide, level, status) => {
    const change = { granule, bits, ds: wide && granule !== 64, lpa: wide && granule === 64, outputBits: 52 };
    const found = ask({ 0x1000: ARM.VALID }, null, change, 0x1234n);
    expect(found).toMatchObject({ status, level, pa: status === 'ok' ? 0x1234n : null });
  });

  test('bit 55 chooses the table and the bits above the size must equal it', () => {
    const high = { ...low, root: 0x5000n };
    const entries = { 0x5ff8: 0x4000_0001n | ARM.AF };
    const top = (1n << 64n) - G;
    // The last gigabyte has index 511 at level 1.
    expect(ask(entries, null, {}, top, high).steps).toMatchObject([{ entryPa: 0x5ff8n }]);
    expect(ask(entries, null, {}, top, high).pa).toBe(0x4000_0000n);
    const nowhere = { status: 'fault', level: 0, pageBytes: 0n, code: 4 };
    expect(brief(ask(entries, null, {}, top - (1n << 39n), high))).toEqual(nowhere);
    expect(brief(ask(entries, null, {}, top, null))).toEqual(nowhere);
    expect(brief(ask(entries, null, {}, top, undefined))).toEqual(nowhere);
    expect(brief(ask({}, null, { epd: true }))).toEqual(nowhere);
    expect(brief(ask({ 0x3018: page }, null, {}, va | (0xabn << 56n)))).toEqual(nowhere);
    // Bit 55 of 0xab << 56 is 0: with top-byte-ignore the low table serves it.
    expect(ask({ 0x3018: page }, null, { tbi: true }, va | (0xabn << 56n)).pa).toBe(0xabc567n);
    expect(ask({ 0x3018: page }, null, { tbi: true }, va | (1n << 54n)).status).toBe('fault');
  });

  test('an output address beyond the stated size', () => {
    const beyond = { 0x2010: (1n << 40n) | 3n };
    expect(brief(ask(beyond, access('read'), { outputBits: 40 }))).toEqual({
      status: 'address-size',
      level: 2,
      pageBytes: 0n,
      code: 2,
    });
    expect(ask({ 0x3018: page | (1n << 40n) }, access('read'), { outputBits: 42 }).status).toBe('ok');
    expect(ask({ 0x3018: page | (1n << 40n) }, null, { outputBits: 40 }).status).toBe('ok');
  });

  test('the access flag comes before permissions, and hardware may manage it', () => {
    const old = { 0x3018: 0xabc003n | ARM.AP_RO };
    expect(brief(ask(old, access('write')))).toEqual({ status: 'access-flag', level: 3, pageBytes: 4n * K, code: 11 });
    expect(brief(ask(old, access('write'), { ha: true }))).toMatchObject({ status: 'permission', code: 15 });
    expect(ask(old, null).status).toBe('ok');
  });

  test('writable clean pages are writable when hardware manages dirty state, which needs HA', () => {
    const clean = { 0x3018: page | ARM.AP_RO | ARM.DBM };
    expect(ask(clean, access('write'), { ha: true, hd: true }).status).toBe('ok');
    expect(ask(clean, access('write'), { ha: true }).status).toBe('permission');
    expect(ask(clean, access('write'), { hd: true }).status).toBe('permission');
  });

  /** Read, write, fetch by the kernel, then by the user: 1 where allowed. */
  const rights = (entries: Record<string, bigint>, change: Partial<ArmStage1> = {}) =>
    [false, true]
      .map((user) =>
        (['read', 'write', 'fetch'] as const)
          .map((kind) => (ask(entries, access(kind, user), change).status === 'ok' ? 1 : 0))
          .join(''),
      )
      .join(' ');

  test.each([
    ['kernel read-write, EL0 execute-only', page, '111 001'],
    ['EL0 read-write: the kernel does not execute it', page | ARM.AP_EL0, '110 111'],
    ['kernel read-only', page | ARM.AP_RO, '101 001'],
    ['read-only for both', page | ARM.AP_RO | ARM.AP_EL0, '101 101'],
    ['kernel text', page | ARM.AP_RO | ARM.UXN, '101 000'],
    ['user text', page | ARM.AP_RO | ARM.AP_EL0 | ARM.PXN, '100 101'],
  ])('%s', (_name, leaf, expected) => {
    expect(rights({ 0x3018: leaf })).toBe(expected);
  });

  test.each([
    ['APTable[0] keeps EL0 out, so the kernel may execute', ARM.APTABLE_NO_EL0, '111 001'],
    ['APTable[1] takes writes away, so the kernel may execute', ARM.APTABLE_RO, '101 101'],
    ['UXNTable', ARM.UXN_TABLE, '110 110'],
    ['PXNTable', ARM.PXN_TABLE, '110 111'],
  ])('%s', (_name, limit, expected) => {
    const entries = { 0x3018: page | ARM.AP_EL0, 0x1008: 0x2003n | limit };
    expect(rights(entries)).toBe(expected);
    expect(rights(entries, { hpd: true })).toBe('110 111');
  });

  test('WXN: what is writable in a mode is not executable in it', () => {
    expect(rights({ 0x3018: page }, { wxn: true })).toBe('110 001');
    expect(rights({ 0x3018: page | ARM.AP_EL0 }, { wxn: true })).toBe('110 110');
    expect(rights({ 0x3018: page | ARM.AP_RO | ARM.AP_EL0 }, { wxn: true })).toBe('101 101');
  });

  test('one privilege has AP[2] and XN only', () => {
    const single = { single: true };
    expect(rights({ 0x3018: page | ARM.PXN }, single)).toBe('111 111');
    expect(rights({ 0x3018: page | ARM.AP_EL0 }, single)).toBe('111 111');
    expect(rights({ 0x3018: page | ARM.UXN }, single)).toBe('110 110');
    expect(rights({ 0x3018: page | ARM.AP_RO }, single)).toBe('101 101');
    expect(rights({ 0x3018: page, 0x2010: 0x3003n | ARM.APTABLE_NO_EL0 | ARM.PXN_TABLE }, single)).toBe('111 111');
    expect(rights({ 0x3018: page, 0x2010: 0x3003n | ARM.APTABLE_RO | ARM.UXN_TABLE }, single)).toBe('100 100');
    expect(rights({ 0x3018: page }, { single: true, wxn: true })).toBe('110 110');
  });
});

describe('stage 2 alone', () => {
  const ask = (
    entries: Record<string, bigint>,
    ipa: bigint,
    how: Access | null,
    second: Partial<ArmStage2> | Ept = {},
  ) => {
    const regime = 'kind' in second ? (second as Ept) : { ...stage2, root: 0x2000n, ...second };
    return translate(memory(entries), { stage1: null, stage2: regime }, ipa, how);
  };

  test('a concatenated root is one table of many entries', () => {
    // 40 bits from level 1: 1024 entries. IPA 600G has index 600, in the second of the two pages.
    const found = ask({ 0x32c0: 0x4000_07fdn }, 600n * G + 5n, null); // 0x2000 + 8 x 600 = 0x2000 + 0x12c0
    expect(found).toMatchObject({
      status: 'ok',
      pa: 0x4000_0005n,
      pageBytes: G,
      s2PageBytes: G,
      stage: 2,
      ipa: 600n * G + 5n,
    });
    expect(brief(ask({}, 1n << 40n, null))).toEqual({ status: 'fault', level: 1, pageBytes: 0n, code: 5 });
  });

  test('level -1 has its own fault status code', () => {
    const found = ask({}, 0n, null, { bits: 52, startLevel: -1, ds: true, outputBits: 52 });
    expect(brief(found)).toEqual({ status: 'fault', level: -1, pageBytes: 0n, code: 0b101011 });
  });

  test('what software keeps in invalid descriptors does not count', () => {
    // KVM: 0x400 is locked, 0x4 an owner.
    for (const entry of [0x400n, 4n]) {
      expect(ask({ 0x2000: entry }, 0n, access('read'))).toMatchObject({ status: 'fault', entry });
    }
  });

  const rights = (leaf: bigint, change: Partial<ArmStage2> = {}) =>
    [false, true]
      .map((user) =>
        (['read', 'write', 'fetch'] as const)
          .map((kind) =>
            ask({ 0x2000: leaf | ARM.VALID | ARM.AF }, 0n, access(kind, user), change).status === 'ok' ? 1 : 0,
          )
          .join(''),
      )
      .join(' ');

  test('S2AP, DBM and XN', () => {
    expect(rights(ARM.S2_R)).toBe('101 101');
    expect(rights(ARM.S2_W)).toBe('011 011');
    expect(rights(ARM.S2_R | ARM.DBM, { ha: true, hd: true })).toBe('111 111');
    expect(rights(ARM.S2_R | ARM.UXN)).toBe('100 100');
    expect(rights(ARM.S2_R | ARM.PXN)).toBe('101 101'); // bit 53 without FEAT_XNX
    // FEAT_XNX, 54:53: 01 EL0 only, 10 none, 11 EL1 only.
    expect(rights(ARM.S2_R | ARM.PXN, { xnx: true })).toBe('100 101');
    expect(rights(ARM.S2_R | ARM.UXN, { xnx: true })).toBe('100 100');
    expect(rights(ARM.S2_R | ARM.UXN | ARM.PXN, { xnx: true })).toBe('101 100');
  });

  test('EPT: permissions are ANDed, an entry without any is absent', () => {
    const root = { ...ept, root: 0x1000n };
    const tables = { 0x1000: 0x2007n, 0x2000: 0x3007n, 0x3000: 0x4005n };
    const page = { ...tables, 0x4000: 0xabc007n };
    expect(ask(page, 0x123n, access('read'), root)).toMatchObject({ status: 'ok', pa: 0xabc123n, level: 1, code: 0 });
    expect(ask(page, 0n, access('write'), root)).toMatchObject({ status: 'permission', level: 1, pageBytes: 4n * K });
    expect(ask(page, 0n, access('fetch'), root).status).toBe('ok');
    expect(ask({ ...tables, 0x4000: 0xabc000n }, 0n, null, root).status).toBe('fault');
    expect(ask({ ...tables, 0x4000: 0xabc004n }, 0n, access('fetch'), root).status).toBe('ok');
    expect(ask(page, 1n << 48n, null, root)).toMatchObject({ status: 'fault', level: 4, entry: 0n });
  });

  test.each([
    ['write without read', 0x4002n, 2],
    ['an address bit below a 2M page', 0x1087n, 2],
    ['an address beyond MAXPHYADDR', (1n << 51n) | 0x4007n, 2],
  ])('EPT: %s is a misconfiguration', (_name, entry, level) => {
    const entries = { 0x1000: 0x2007n, 0x2000: 0x3007n, 0x3000: entry };
    const root = { ...ept, root: 0x1000n, maxPhysBits: 51 };
    expect(brief(ask(entries, 0n, access('read'), root))).toEqual({
      status: 'reserved',
      level,
      pageBytes: 0n,
      code: 0,
    });
  });
});

describe('both stages', () => {
  const firsts = [
    ...([4, 5] as const).map((n) => ({
      n,
      name: `x86 ${n}`,
      shape: shapeOfX86(n),
      root: (root: bigint) => ({ x86: { ...x86, levels: n, root } }),
    })),
    ...([30, 39, 48, 52] as const).map((bits, i) => {
      const low = { ...arm, bits, ds: bits === 52, outputBits: bits === 52 ? 52 : 48 };
      return {
        n: i + 2,
        name: `Arm ${bits}`,
        shape: shapeOfArm(low),
        root: (root: bigint) => ({ low: { ...low, root } }),
      };
    }),
  ];
  const seconds = [
    ...([4, 5] as const).map((n) => ({ n, name: `EPT ${n}`, regime: { ...ept, levels: n } })),
    ...([32, 40, 48] as const).map((bits, i) => ({
      n: i + 2,
      name: `Arm ${bits}`,
      regime: { ...stage2, bits, startLevel: kvmStart(4, bits) },
    })),
  ];
  const armSeconds = seconds.slice(2);

  /** The steps of a cold walk whose leaves are `up1` and `up2` levels above the last. */
  function coldWalk(first: (typeof firsts)[0], up1: number, second: (typeof seconds)[0], up2: number) {
    const image = new Image();
    const shape2 = shapeOfStage2(second.regime);
    const at = (shape: typeof shape2, up: number) => shape.levels[shape.levels.length - 1 - up].level;
    const tree2 = new Tree(image, shape2, physically(image));
    const level2 = at(shape2, up2);
    const place = intermediately(tree2, 0n, () => ({ level: level2, target: (bytes) => image.allocate(bytes) }));
    const tree1 = new Tree(image, first.shape, place);
    tree1.map(0x234n, { level: at(first.shape, up1), target: () => G });
    tree2.map(G, { level: level2, target: () => 3n * G });
    const regime: Regime = { stage1: first.root(tree1.root), stage2: { ...second.regime, root: tree2.root } };
    const found = translate(memoryOf(image.pages), regime, 0x234n, null);
    expect(found).toMatchObject({ status: 'ok', pa: 3n * G + 0x234n, ipa: G + 0x234n, s2Level: level2 });
    return found.steps;
  }

  const pairs = firsts.flatMap((first) => seconds.map((second) => ({ first, second })));
  test.each(pairs)('a cold walk of $first.name under $second.name reads (n1 + 1)(n2 + 1) - 1', ({ first, second }) => {
    // A leaf k levels above the last saves k reads: of stage 1, or of every stage-2 translation.
    for (let k1 = 0; k1 < Math.min(3, first.n); k1++) {
      for (let k2 = 0; k2 < Math.min(3, second.n); k2++) {
        const steps = coldWalk(first, k1, second, k2);
        const [n1, n2] = [first.n - k1, second.n - k2];
        expect(steps).toHaveLength((n1 + 1) * (n2 + 1) - 1);
        expect(steps.filter(({ stage }) => stage === 1)).toHaveLength(n1);
      }
    }
  });

  test.each([
    [2, 2, 8],
    [3, 2, 11],
    [3, 3, 15],
    [4, 2, 14],
    [4, 3, 19],
    [4, 4, 24],
    [5, 4, 29],
  ])('an Arm walk of %i levels under %i reads %i descriptors', (n1, n2, refs) => {
    expect(
      coldWalk(
        firsts.find(({ name, n }) => name.startsWith('Arm') && n === n1)!,
        0,
        armSeconds[n2 - 2],
        0,
      ),
    ).toHaveLength(refs);
  });

  test('an x86 walk of 5 levels under 5 reads 35 descriptors', () => {
    expect(coldWalk(firsts[1], 0, seconds[1], 0)).toHaveLength(35);
  });

  // Stage 1: 39 bits, tables at IPA 0x1000, 0x2000, 0x3000, page at IPA 0x8000. Stage 2: 32 bits, start level 2, root at
  // PA 0x4000 with 2048 entries, one level 3 table at 0x8000; IPA page i at PA 0x10000 + 0x1000 i.
  const s2page = (ipa: bigint, flags = 0x7ffn) => ({ [String(0x8000n + 8n * (ipa >> 12n))]: (0x10000n + ipa) | flags });
  const nested = (change: Record<string, bigint>, how: Access | null, second: Partial<ArmStage2> = {}) =>
    translate(
      memory({
        0x4000: 0x8003n,
        ...s2page(0x1000n),
        ...s2page(0x2000n),
        ...s2page(0x3000n),
        ...s2page(0x8000n),
        0x11000: 0x2003n,
        0x12000: 0x3003n,
        0x13000: 0x8003n | ARM.AF | ARM.AP_EL0,
        ...change,
      }),
      {
        stage1: { low: { ...arm, bits: 39, root: 0x1000n }, high: null },
        stage2: { ...stage2, root: 0x4000n, bits: 32, startLevel: 2, ...second },
      },
      0x123n,
      how,
    );
  const none = (ipa: bigint) => ({ [String(0x8000n + 8n * (ipa >> 12n))]: 0n });

  test('descriptors are read in the order of the walk, at physical addresses', () => {
    const found = nested({}, access('read'));
    expect(found).toMatchObject({
      status: 'ok',
      pa: 0x18123n,
      ipa: 0x8123n,
      s2Level: 3,
      s2PageBytes: 4n * K,
      stage: 1,
    });
    // Each time two reads of stage 2 (root entry 0, then entry IPA / 4K), then one of stage 1.
    expect(found.steps.map(({ stage, level, entryPa }) => [stage, level, entryPa])).toEqual([
      ...[[2, 2, 0x4000n], [2, 3, 0x8008n], [1, 1, 0x11000n]], // prettier-ignore
      ...[[2, 2, 0x4000n], [2, 3, 0x8010n], [1, 2, 0x12000n]], // prettier-ignore
      ...[[2, 2, 0x4000n], [2, 3, 0x8018n], [1, 3, 0x13000n]], // prettier-ignore
      ...[[2, 2, 0x4000n], [2, 3, 0x8040n]], // prettier-ignore
    ]);
  });

  test('an unmapped table stops the walk at that table', () => {
    // Stage-1 level 2; stage 2 stops at its level 3: translation fault 0b000111.
    expect(nested(none(0x2000n), access('write'))).toMatchObject({
      status: 's2-fault-on-s1-walk',
      level: 2,
      pageBytes: 0n,
      s2Level: 3,
      s2PageBytes: 0n,
      entry: 0n,
      code: 7,
      stage: 2,
      s1ptw: true,
      ipa: 0x2000n,
      pa: null,
    });
  });

  test('an unmapped final address has level and size of the stage-1 leaf', () => {
    expect(nested({ ...none(0x8000n), 0x4000: 0x8003n }, null)).toMatchObject({
      status: 's2-fault',
      level: 3,
      pageBytes: 4n * K,
      s2Level: 3,
      s2PageBytes: 0n,
      code: 7,
      stage: 2,
      s1ptw: false,
      ipa: 0x8123n,
      pa: null,
    });
  });

  test('a stage-1 fault comes before the stage-2 fault of its output', () => {
    const readOnly = { 0x13000: 0x8003n | ARM.AF | ARM.AP_RO };
    expect(nested({ ...readOnly, ...none(0x8000n) }, access('write'))).toMatchObject({
      status: 'permission',
      stage: 1,
      code: 15,
      s2Level: null,
      ipa: null,
    });
  });

  test('a stage-1 table needs read permission, and only that', () => {
    expect(nested(s2page(0x3000n, 0x77fn), access('write')).status).toBe('ok'); // bit 7 clear: not writable
    expect(nested(s2page(0x3000n, 0x7bfn), access('write'))).toMatchObject({
      status: 'permission',
      stage: 2,
      s1ptw: true,
      level: 3,
      pageBytes: 0n,
      s2PageBytes: 4n * K,
      code: 15,
    });
    expect(nested(s2page(0x3000n, 0x3ffn), access('read'))).toMatchObject({
      status: 'access-flag',
      s1ptw: true,
      code: 11,
    });
    expect(nested(s2page(0x3000n, 0x3ffn), access('read'), { ha: true }).status).toBe('ok');
  });

  test('the final page needs the permission in both stages', () => {
    expect(nested(s2page(0x8000n, 0x77fn), access('write'))).toMatchObject({
      status: 'permission',
      stage: 2,
      s1ptw: false,
    });
    expect(nested(s2page(0x8000n, 0x77fn), access('read')).status).toBe('ok');
  });

  test('x86 under EPT has no code for what EPT refuses', () => {
    const found = translate(
      memory({ 0x1000: 0n }),
      { stage1: { x86: { ...x86, root: 0x5000n } }, stage2: { ...ept, root: 0x1000n } },
      0n,
      access('read'),
    );
    expect(found).toMatchObject({ status: 's2-fault-on-s1-walk', level: 4, s2Level: 4, code: 0, ipa: 0x5000n });
  });
});

describe('every translation', () => {
  test('of well-formed tables: what is allowed is present, and at the same place', () => {
    fc.assert(
      fc.property(wellFormed, ({ pages, regime, addresses, accesses }) => {
        for (const address of addresses) {
          const probe = translate(memoryOf(pages), regime, address, null);
          if (probe.pa !== null) expect(probe.pa % 4096n).toBe(address % 4096n);
          for (const how of accesses) {
            const found = translate(memoryOf(pages), regime, address, how);
            if (found.status === 'ok') expect(found).toEqual(probe);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of malformed tables ends, and reads at most 35 descriptors', () => {
    fc.assert(
      fc.property(malformed, ({ pages, regime, addresses, accesses }) => {
        for (const address of addresses) {
          for (const how of accesses) {
            const { steps, status, pa } = translate((at) => memoryOf(pages)(at) ?? 0n, regime, address, how);
            expect(steps.length).toBeLessThanOrEqual(35); // five levels under five: 6 x 6 - 1
            expect(status === 'ok').toBe(pa !== null);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of the permission matrix has each case once, and every case that is allowed is present', () => {
    // x86: 2^3 flags of tables x 2^3 of the leaf x 2^4 controls x 6 accesses. Arm stage 1: 2^5 leaves with AF x 2^4 limits and
    // 2^5 without, x 2^4 x 6, two regimes. Stage 2: 2^6 x 2^3 x 6; EPT 2^3 x 2^3 x 6. Both stages: 9 arrangements of each leaf.
    const arm2 = 2 ** 6 * 2 ** 3 * 6;
    const expected = 2 ** 10 * 6 + 2 * (2 ** 9 + 2 ** 5) * 2 ** 4 * 6 + arm2 + 2 ** 6 * 6 + 9 * arm2 + 9 * 2 ** 3 * 6;
    let cases = 0;
    for (const { pages, regime, address, access: how } of permissionCases()) {
      cases++;
      const found = translate(memoryOf(pages), regime, address, how);
      if (found.status === 'ok') expect(found.pa).toBe(translate(memoryOf(pages), regime, address, null).pa);
    }
    expect(cases).toBe(expected);
  });
});
