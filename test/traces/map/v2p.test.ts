// v2p.textproto: what DynamoRIO writes, in the forms that protobuf's text has, and what is refused by its line.

import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../traces/errors.js';
import { readV2p } from '../../../traces/map/v2p.js';
import { damaged, MUTANTS } from '../mutations.js';
import { scratch } from '../support.js';

const path = scratch();

function read(text: string | Uint8Array) {
  writeFileSync(path('v2p.textproto'), text);
  return readV2p(path('v2p.textproto'));
}

const EXAMPLE = `# VirtualToPhysical
# Instance name: example
address_mapping_group    {
  page_size: 0x200000
  address_mapping {
    virtual_address: 0x7f0000000000
    physical_address: 0x40000000
  }
  address_mapping {
    physical_address: 2097152
  }
  address_mapping { virtual_address: 0x400000 }
  information {
    page_count: 0x3
    bytes_mapped: 0x600000
  }
}
information {
  page_count: 0x3
  bytes_mapped: 0x600000
}
`;

describe('v2p.textproto', () => {
  it('gives the physical address of every byte of its pages; a field that is not there is 0', async () => {
    const mapping = await read(EXAMPLE);
    expect(mapping).toMatchObject({ pageBytes: 2 ** 21, size: 3, source: path('v2p.textproto') });
    const cases: [bigint, bigint][] = [
      [0x7f00_0000_0000n, 0x4000_0000n],
      [0x7f00_001f_ffffn, 0x401f_ffffn],
      [0x7f00_0020_0000n, -1n],
      [0x7eff_ffff_ffffn, -1n],
      [0x0n, 0x20_0000n],
      [0x12_3456n, 0x32_3456n],
      [0x20_0000n, -1n],
      [0x40_0010n, 0x10n],
      [2n ** 64n - 1n, -1n],
    ];
    expect(cases.map(([va]) => mapping.translate(va, 0))).toEqual(cases.map(([, pa]) => pa));
  });

  it('may begin pages anywhere, and may be packed', async () => {
    const text = 'page_size: 4096\naddress_mapping { virtual_address: 0x123, physical_address: 3; }\n';
    const mapping = await read(gzipSync(text));
    expect([0x122n, 0x123n, 0x124n, 0x1123n].map((va) => mapping.translate(va, 7))).toEqual([-1n, 3n, 4n, -1n]);
  });

  it('gives back any pages, in whatever order and form they are written', async () => {
    const page = fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 52n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 40n }));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(page, { selector: ([vpn]) => vpn, minLength: 1 }),
        fc.boolean(),
        async (pages, hex) => {
          const number = (n: bigint) => (hex ? `0x${n.toString(16)}` : `${n}`);
          const blocks = pages.map(
            ([vpn, pfn]) =>
              `address_mapping {\n virtual_address: ${number(vpn << 12n)}\n physical_address: ${number(pfn << 12n)}\n}\n`,
          );
          const mapping = await read(`${blocks.join('')}page_size: ${number(4096n)}`);
          for (const [vpn, pfn] of pages) expect(mapping.translate((vpn << 12n) | 5n, 0)).toBe((pfn << 12n) | 5n);
        },
      ),
      { numRuns: 30 },
    );
  });

  it.each<[string, RegExp]>([
    ['', /line 0: expected a page_size, found none in the whole file/],
    ['page_size: 4096\npage_size: 8192\n', /line 2: expected the page_size from before, 4096, found 8192/],
    ['page_size: 5000\n', /line 1: expected a page_size that is a power of two, found 5000/],
    ['page_size: 0\n', /line 1: expected a page_size that is a power of two, found 0/],
    ['page_size: 4k\n', /line 1: expected a number of 64 bits as page_size, found "4k"/],
    ['page_size: 0x10000000000000000\n', /line 1: expected a number of 64 bits/],
    ['address_mapping {\n virtual_address: 1\n}\naddress_mapping {\n virtual_address: 1\n}\n', /line 6: .*0x1 again/],
    ['address_mapping { }\naddress_mapping { }\n', /line 2: expected every virtual_address once, found 0x0 again/],
    ['address_mapping { virtual_address: 1 virtual_address: 2 }\n', /line 1: expected one virtual_address in a block/],
    ['address_mapping {\n page {\n', /line 2: expected the end of the block address_mapping, found a block page/],
    ['address_mapping {\n', /expected the end of the block address_mapping, found the end of the file/],
    ['}\n', /line 1: expected a block before its end/],
    ['# text\nhello there\n', /line 2: expected a field "name: number".*found "hello there"/],
    ['address_mapping { virtual_address: 1 }\n', /expected a page_size, found none/],
  ])('refuses %j', async (text, message) => {
    const error = await read(text).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toMatch(message);
  });

  it('is read or refused when it is damaged', async () => {
    for (let seed = 1; seed <= MUTANTS; seed++) {
      const outcome = await read(damaged(Buffer.from(EXAMPLE), seed)).catch((e: unknown) => e);
      if (outcome instanceof Error) expect(outcome, `seed ${seed}: ${outcome.stack}`).toBeInstanceOf(InputError);
    }
  });
});
