// The pool vectors: one block of memory, five levels, as the sums of the kernel's formula.

import { expect, test } from 'vitest';
import { hostStage2Pages, hypStage1Pages } from '../../../host/model/pool.js';

const K = 1024;
const G = 2 ** 30;

test('1 GiB in 4K pages, by hand', () => {
  // 262,144 pages need 512 tables, these 1, and that one 1 at each of three more levels: 516. The same again for 1 GiB of
  // devices, and 16 for the root: 516 + 516 + 16.
  expect(hostStage2Pages({ memoryBytes: G, pageBytes: 4 * K, levels: 5 })).toBe(1048);
  // With four levels each sum is one less.
  expect(hostStage2Pages({ memoryBytes: G, pageBytes: 4 * K, levels: 4 })).toBe(1046);
});

test.each([
  [4, 1, 1048],
  [4, 16, 8743],
  [4, 64, 33367],
  [4, 256, 131863],
  [4, 1024, 525848],
  [4, 4096, 2101790],
  [16, 1, 88],
  [16, 64, 2104],
  [16, 1024, 32839],
  [64, 1, 28],
  [64, 64, 154],
  [64, 1024, 2074],
  [64, 4096, 8218],
])('%iK pages, %i GiB: %i pages for the host stage 2, 16 less for the hypervisor', (pageKiB, memoryGiB, pages) => {
  const pool = { memoryBytes: memoryGiB * G, pageBytes: pageKiB * K, levels: 5 };
  expect(hostStage2Pages(pool)).toBe(pages);
  expect(hypStage1Pages(pool)).toBe(pages - 16);
});
