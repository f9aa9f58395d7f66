import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type HypLayout,
  hypLayout,
  hypRange,
  kernHypVa,
  type LinearMap,
  linearMap,
  trampolineVa,
} from '../../../host/model/idmap.js';
import { HypMachine } from '../../assembly/hypMachine.js';

/** Whether KVM gives up (kvm_mmu_init): the identity mapping lies within the HYP addresses of the linear map, and is not the kernel's own mapping of that page. */
function idmapCollides(layout: HypLayout, linear: LinearMap, idmapStart: bigint, idmapText: bigint): boolean {
  const { from, end } = hypRange(layout, linear);
  return idmapStart >= from && idmapStart < end && idmapStart !== idmapText;
}

const ARM32 = { arch: 'arm32-lpae', vaBits: 32, oneTable: true } as const;
const ARM64 = { arch: 'arm64', vaBits: 48, oneTable: true } as const;

describe('kern_hyp_va', () => {
  test('is the address itself on arm32', () => {
    expect(kernHypVa(hypLayout(ARM32, 0x8000_8000n), 0xc012_3456n)).toBe(0xc012_3456n);
  });

  test('keeps the bits of the address space on arm64 with two tables', () => {
    const layout = hypLayout({ ...ARM64, oneTable: false }, 0x4000_8000n);
    expect(kernHypVa(layout, 0xffff_8000_4000_8000n)).toBe(0x8000_4000_8000n);
  });

  test('takes the half of the addresses in which the identity mapping is not, with one', () => {
    const va = 0xffff_0000_4012_3456n;
    expect(kernHypVa(hypLayout(ARM64, 0x4000_8000n), va)).toBe(0x8000_4012_3456n);
    expect(kernHypVa(hypLayout(ARM64, 0x8000_4000_8000n), va)).toBe(0x4012_3456n);
  });
});

test('the trampoline is the vectors page of arm32 and the last page of arm64', () => {
  expect(trampolineVa(ARM32)).toBe(0xffff_0000n);
  expect(trampolineVa(ARM64)).toBe(0xffff_ffff_f000n);
  expect(trampolineVa({ ...ARM64, vaBits: 39 })).toBe(0x7f_ffff_f000n);
});

describe('the collision of kvm_mmu_init', () => {
  // 512 MiB at 3 GiB: high_memory is 0xe0000000, so HYP has [0xc0000000, 0xdfffffff).
  const linear = linearMap(ARM32, 2 ** 29);
  const text = 0xc000_8000n;
  const collides = (idmap: bigint, idmapText = text) =>
    idmapCollides(hypLayout(ARM32, idmap), linear, idmap, idmapText);

  test.each([
    [0xbfff_f000n, false], // the page before
    [0xc000_0000n, true], // the first
    [0xd123_4000n, true],
    [0xdfff_f000n, true], // the last page
    [0xdfff_ffffn, false], // the address of the last byte is excluded
    [0xe000_0000n, false],
  ])('0x%s', (idmap, expected) => {
    expect(collides(idmap)).toBe(expected);
  });

  test("the kernel's own mapping of the page is none", () => {
    expect(collides(0xd123_4000n, 0xd123_4000n)).toBe(false);
  });

  test('cannot happen on arm64', () => {
    const all = linearMap(ARM64, null);
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 48n) - 1n), (idmap) => {
        expect(idmapCollides(hypLayout(ARM64, idmap), all, idmap, 0n)).toBe(false);
      }),
    );
  });

  test('low memory of arm32 ends at 760 MiB, whatever the machine has', () => {
    // 0xc0000000 + 760 * 2^20 = 0xef800000
    expect(hypRange(hypLayout(ARM32, 0n), linearMap(ARM32, 2 ** 32))).toEqual({
      from: 0xc000_0000n,
      end: 0xef7f_ffffn,
    });
  });

  test('the core gives up exactly then', () => {
    fc.assert(
      fc.property(fc.bigInt(0xb_f000n, 0xe_1000n), fc.boolean(), (page, same) => {
        const idmap = page << 12n;
        const machine = new HypMachine({
          cpus: 1,
          system: { hypScheme: 'merged', hypArch: 'arm32-lpae', hypMemoryBytes: '512M' },
        });
        const { 'fault.hypRefused': refused = 0 } = machine.event('hyp_init', 0, same ? idmap : text, idmap);
        expect(refused === 1).toBe(collides(idmap, same ? idmap : text));
      }),
      { numRuns: 30 },
    );
  });
});
