// Translation through images made by hand, where every answer follows from the descriptors, and through parts of captured ones.

import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Checks, Translator } from '../../../host/tables/translate.js';
import { ARM_CPU, ARM_ENTRIES, writeImage, X86_CPU, X86_ENTRIES } from './handmade.js';
import { disagreements } from './truth.js';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

function image(...args: Parameters<typeof writeImage>): string {
  const folder = writeImage(...args);
  folders.push(folder);
  return folder;
}

const KINDS = { r: 'read', w: 'write', x: 'fetch' } as const;
type Kind = keyof typeof KINDS;
const checks = (kind: Kind, mode: Checks['mode']): Checks => ({ kind: KINDS[kind], mode });

/** Which of r, w and x are allowed at an address in a mode, "-" for `permission`. */
function allowed(translator: Translator, root: string, va: bigint, mode: Checks['mode']): string {
  return (['r', 'w', 'x'] as const)
    .map((kind) => {
      const { status } = translator.translate(root, va, checks(kind, mode));
      return status === 'ok' ? kind : status === 'permission' ? '-' : status;
    })
    .join('');
}

describe('x86-64', () => {
  // User pages are hidden from the kernel's data accesses by SMAP and from its fetches by SMEP; WP holds for the kernel.
  it.each([
    [0x0n, 'user', 'rw-'],
    [0x0n, 'kernel', '---'],
    [0x1000n, 'user', 'r-x'],
    [0x1000n, 'kernel', '---'],
    [0x2000n, 'user', '---'],
    [0x2000n, 'kernel', 'rw-'],
    [0x3000n, 'user', '---'],
    [0x3000n, 'kernel', 'r-x'],
  ] as const)('at 0x%s %s is allowed %s', async (va, mode, expected) => {
    const translator = await Translator.open(image('x86-64', { 0: X86_CPU }, X86_ENTRIES));
    expect(allowed(translator, 'cr3_cpu0', va, mode)).toBe(expected);
  });

  // CR0 without bit 16, CR4 without bits 20 and 21.
  it('lets the kernel write read-only pages without WP, and touch user pages without SMEP and SMAP', async () => {
    const cpu = { ...X86_CPU, cr0: '0x80040033', cr4: '0xef0' };
    const translator = await Translator.open(image('x86-64', { 0: cpu }, X86_ENTRIES));
    expect(allowed(translator, 'cr3_cpu0', 0x3000n, 'kernel')).toBe('rwx');
    expect(allowed(translator, 'cr3_cpu0', 0x1000n, 'kernel')).toBe('rwx');
    expect(allowed(translator, 'cr3_cpu0', 0x3000n, 'user')).toBe('---');
  });

  // Error code: P 1, W 2, U 4, RSVD 8, I 16.
  it.each([
    [0x2000n, 'w', 'permission', 7],
    [0x0n, 'x', 'permission', 1 + 4 + 16],
    [0x5000n, 'r', 'fault', 4],
    [0x4000n, 'r', 'reserved', 1 + 4 + 8],
  ] as const)('a user at 0x%s with %s gets %s with error code %i', async (va, kind, status, code) => {
    const folder = image('x86-64', { 0: X86_CPU }, X86_ENTRIES);
    const translator = await Translator.open(folder, { maxPhysBits: 40 });
    expect(translator.translate('cr3_cpu0', va, checks(kind, 'user'))).toMatchObject({ status, code, level: 1 });
  });

  it('has no reserved address bits with MAXPHYADDR 52, and checks none without an access', async () => {
    const folder = image('x86-64', { 0: X86_CPU }, X86_ENTRIES);
    const pa = (1n << 45n) | 0x10n;
    const wide = await Translator.open(folder);
    expect(wide.translate('cr3_cpu0', 0x4010n, checks('r', 'user'))).toMatchObject({ status: 'ok', pa });
    const narrow = await Translator.open(folder, { maxPhysBits: 40 });
    expect(narrow.translate('cr3_cpu0', 0x4010n, null)).toMatchObject({ status: 'ok', pa });
  });

  it('takes the kernel for upper addresses and the user for lower ones when no mode is named', async () => {
    const translator = await Translator.open(
      image('x86-64', { 0: X86_CPU }, { ...X86_ENTRIES, '0x1ff8': 0x2000n | 7n }),
    );
    const reads = (va: bigint) => translator.translate('cr3_cpu0', va, checks('r', undefined)).status;
    // The last entry of the root leads to the same tables: VA 0xffffff8000002000 is the kernel's page 0x2000 again.
    expect(reads(0xffff_ff80_0000_2000n)).toBe('ok');
    expect(reads(0x2000n)).toBe('permission');
  });

  it('a CPU that is not in 64-bit paging has no root', async () => {
    const off = { ...X86_CPU, cr0: '0x10', efer: '0x0' };
    const translator = await Translator.open(image('x86-64', { 0: off, 1: X86_CPU }, X86_ENTRIES));
    expect(translator.rootNames).toEqual(['cr3_cpu1']);
  });
});

describe('Arm under stage 2', () => {
  let translator: Translator;
  beforeAll(async () => {
    translator = await Translator.open(image('arm64', { 0: ARM_CPU }, ARM_ENTRIES));
  });

  it.each([
    // The page at VA 0 is IPA 0x30000, which stage 2 puts at 0x50000.
    [0x123n, { status: 'ok', pa: 0x50123n, level: 3, pageBytes: 0x1000n, s2Level: 3 }],
    // A stage-1 block over 2M at IPA 0: IPA 0x30010 through the same stage-2 page.
    [0x430010n, { status: 'ok', pa: 0x50010n, level: 2, pageBytes: 0x200000n, s2Level: 3, s2PageBytes: 0x1000n }],
    // IPA 0x32000 is not mapped: level and size are those of the stage-1 leaf, the entry is stage 2's.
    [0x2000n, { status: 's2-fault', pa: null, level: 3, pageBytes: 0x1000n, ipa: 0x32000n, entry: 4n }],
    // The level-3 table at IPA 0x13000 is not mapped; VA 0x200000 needs its first entry.
    [0x200000n, { status: 's2-fault-on-s1-walk', pa: null, level: 3, pageBytes: 0n, ipa: 0x13000n, stage: 2 }],
    [0x5000n, { status: 'fault', pa: null, level: 3, pageBytes: 0n, s2Level: null, ipa: null }],
    // 39 bits: bit 39 is covered by no table.
    [1n << 39n, { status: 'fault', level: 0, pageBytes: 0n }],
  ] as const)('a probe of %s', (va, expected) => {
    expect(translator.translate('ttbr0_cpu0', va, null)).toMatchObject(expected);
  });

  // FSC: permission 0b0011LL, access flag 0b0010LL, address size 0b0000LL.
  it.each([
    [0x1000n, 'w', 'permission', { stage: 2, code: 0x0f, ipa: 0x31000n }],
    [0x1000n, 'r', 'ok', { pa: 0x51000n }],
    [0x3000n, 'r', 'access-flag', { stage: 1, code: 0x0b, level: 3 }],
    [0x4000n, 'r', 'address-size', { stage: 1, code: 0x03, level: 3 }],
  ] as const)('a checked access at %s (%s) gives %s', (va, kind, status, expected) => {
    expect(translator.translate('ttbr0_cpu0', va, checks(kind, 'user'))).toMatchObject({ status, ...expected });
  });

  it('reads 3 + 3 * 3 + 3 descriptors, three levels under three', () => {
    translator.translate('ttbr0_cpu0', 0x123n, null);
    expect(translator.steps().map(({ stage }) => stage)).toEqual([2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2]);
  });

  it('an IPA is translated by the stage 2 alone', () => {
    expect(translator.rootNames).toEqual(['ttbr0_cpu0', 'ttbr1_cpu0', 's2_host']);
    expect(translator.translate('s2_host', 0x11008n, null)).toMatchObject({ status: 'ok', pa: 0x20008n, level: 3 });
    expect(translator.translate('s2_host', 0x32000n, null)).toMatchObject({ status: 'fault', level: 3, pageBytes: 0n });
  });

  it('the upper table covers upper addresses only, the lower one lower ones', () => {
    const upper = 0xffff_ff80_0000_0123n;
    expect(translator.translate('ttbr1_cpu0', upper, null)).toMatchObject({ status: 'ok', pa: 0x50123n });
    expect(translator.translate('ttbr1_cpu0', 0x123n, null)).toMatchObject({ status: 'fault', level: 0 });
    expect(translator.translate('ttbr0_cpu0', upper, null)).toMatchObject({ status: 'fault', level: 0 });
  });

  it('a table outside the image is an error that names it', () => {
    // IPA 0x14000, the table of VA 0x600000, is at PA 0x60000, of which the image has nothing.
    expect(() => translator.translate('ttbr0_cpu0', 0x600000n, null)).toThrow(
      /root ttbr0_cpu0, address 0x600000: expected the stage-1 table at PA 0x60000, found no such page/,
    );
  });
});

describe('parts of captured images', () => {
  const fixtures = new URL('../../fixtures/tables/', import.meta.url).pathname;
  const names = readdirSync(fixtures);

  it('are there', () => expect(names.length).toBe(10));

  it.each(names)('%s translates as the captured machine did', async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'nodewalk-fixture-'));
    folders.push(folder);
    for (const file of ['registers.json', 'tablepages.csv'])
      copyFileSync(join(fixtures, name, file), join(folder, file));
    writeFileSync(join(folder, 'tablepages.bin'), gunzipSync(readFileSync(join(fixtures, name, 'tablepages.bin.gz'))));
    const { rows, wrong } = await disagreements(await Translator.open(folder), join(fixtures, name, 'truth.csv'));
    expect(wrong).toEqual([]);
    expect(rows).toBeGreaterThan(40);
  });
});
