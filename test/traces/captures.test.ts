// The full captures, where they are at hand, against the statistics recorded with them; and the samples cut from them.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { convert } from '../../traces/convert.js';
import { inspect } from '../../traces/info.js';
import { CAPTURES, scratch } from './support.js';

const path = scratch();
const SAMPLES = fileURLToPath(new URL('../../traces/samples/', import.meta.url));

describe.skipIf(!existsSync(CAPTURES))('a full capture', () => {
  it.each(['x86_4l_nokaslr', 'arm64_4k_redis'])('converted has the recorded counts: %s', async (name) => {
    const folder = join(CAPTURES, 'traces', name);
    const stats = JSON.parse(readFileSync(join(folder, 'stats.json'), 'utf8'));
    await convert([join(folder, 'trace.bin.xz')], path('full.arrow'));
    const info = await inspect(path('full.arrow'));
    const sum = (byMode: Record<string, number>) => Object.values(byMode).reduce((a, b) => a + b, 0);
    // Derived events are rows besides those of the capture, and so are their further operands.
    const derived = info.records - stats.records;
    const events = Object.values(info.metadata!.derived!.events).reduce((a, b) => a + b, 0);
    expect(derived).toBeGreaterThanOrEqual(events);
    expect(derived).toBeLessThanOrEqual(2 * events);
    expect(info.mix).toEqual({
      fetch: sum(stats.fetch),
      load: sum(stats.load),
      store: sum(stats.store),
      event: stats.markers + derived,
      insns: stats.instructions,
    });
    expect(info.modes!.user).toBe(stats.fetch.user + stats.load.user + stats.store.user);
    expect(info.pages.va['4K']).toBe(stats.distinct_4k_va_pages);
    expect(info.pages.pa!['4K']).toBe(stats.distinct_4k_pa_pages);
    expect(info.metadata!.counts.mmio).toBe(stats.mmio);
    // stats.json: fetches, loads, stores and instructions of every phase.
    expect(
      Object.fromEntries(info.phases.map((p) => [`0x${p.number.toString(16)}`, [p.fetch, p.load, p.store, p.insns]])),
    ).toEqual(stats.phases);
    // The machine is recognised, and its text lies where stats.json says (va - pa).
    expect(info.metadata!.nodes.length).toBe(2);
    const text = info.metadata!.regions.find((region) => region.name === 'text')!;
    expect(text.node).toBe(0);
    const [offset] = stats.text_va_minus_pa ?? ['0xffff7fffc7e00000'];
    expect(BigInt(text.va) - BigInt(text.pa!)).toBe(BigInt(offset));
  });

  it('of lackey has the recorded counts', async () => {
    const { counts } = (await convert([join(CAPTURES, 'traces', 'lackey-shuf.txt.zst')], path('shuf.arrow'))).metadata;
    const expected = JSON.parse(readFileSync(join(CAPTURES, 'expected', 'tlb.json'), 'utf8'));
    expect(counts).toMatchObject(expected['lackey-shuf.txt.zst'][0].expected.access);
  });
});

describe('a sample', () => {
  it.each(['x86-64-kernel', 'arm64-kernel', 'sqlite'])('is whole and says where it comes from: %s', async (name) => {
    const { metadata, mix, phases } = await inspect(join(SAMPLES, `${name}.arrow`));
    expect(metadata!.counts).toEqual(mix);
    expect(metadata!.filters.length).toBe(1);
    expect(metadata!.source.input[0].sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(metadata!.phases.map((phase) => phase.number)).toEqual(phases.map((phase) => phase.number));
    expect(phases.every((phase) => !phase.open && phase.times === 1)).toBe(true);
  });

  it.each(['x86-64-kernel', 'arm64-kernel'])('of a kernel has both nodes: %s', async (name) => {
    const { metadata, phases } = await inspect(join(SAMPLES, `${name}.arrow`));
    // Phases on node 0 run on CPU 1 and those on node 1 on CPU 3; the last digit of the number is the node.
    expect(phases.length).toBe(10);
    for (const { number, cpu } of phases) expect(metadata!.cpuNode![cpu]).toBe(number & 15);
  });
});
