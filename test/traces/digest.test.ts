// The digest of an input: the same in this thread and in another.

import { createHash } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { openInput } from '../../traces/input.js';
import { scratch } from './support.js';

const path = scratch();

it.each([1 << 20, (64 << 20) + 5])('of %d bytes is that of its bytes', async (bytes) => {
  writeFileSync(path('input'), 'some bytes, then zeros');
  truncateSync(path('input'), bytes);
  const expected = createHash('sha256')
    .update('some bytes, then zeros')
    .update(Buffer.alloc(bytes - 22));
  const input = await openInput(path('input'));
  expect(await input.digest()).toEqual({ name: 'input', bytes, sha256: expected.digest('hex') });
  await input.close();
});
