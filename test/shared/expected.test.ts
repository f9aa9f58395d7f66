// The counts of an independent native program (tlbref, described beside the data) on captured traces, when the captures are
// there: the traces are converted and replayed as a user would, all configurations of a trace in one pass.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { resolveConfig } from '../../host/config/load.js';
import { replayTrace } from '../../host/replay/replay.js';
import { convert } from '../../traces/convert.js';

interface Case {
  name: string;
  config: Record<
    'l1iSets' | 'l1iWays' | 'l1dSets' | 'l1dWays' | 'l2Sets' | 'l2Ways' | 'pdeEntries' | 'pdpteEntries' | 'pml4Entries',
    number
  >;
  expected: {
    access: { fetch: number; load: number; store: number };
    tlb: { l1iMiss: number; l1dMiss: number; l2Miss: number };
    walk: { count: number; refs: number; pdeHit: number; pdpteHit: number; pml4Hit: number };
  };
}

const data = new URL('../../../shared/data/', import.meta.url).pathname;
const expectedFile = join(data, 'expected/tlb.json');
const present = existsSync(expectedFile);
const cases = present ? (JSON.parse(readFileSync(expectedFile, 'utf8')) as Record<string, Case[]>) : {};
const directory = mkdtempSync(join(tmpdir(), 'nodewalk-expected-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** The names of the walk caches, from the one closest to the leaf. */
const X86 = ['pde', 'pdpte', 'pml4e'] as const;
const ARM = ['l2', 'l1', 'l0'] as const;

function document({ config: c }: Case, arm: boolean) {
  const [first, second, third] = arm ? ARM : X86;
  return {
    machine: {
      cpuNode: [0, 0, 1, 1],
      tlb: {
        l1i: { sets: c.l1iSets, ways: c.l1iWays },
        l1d: { sets: c.l1dSets, ways: c.l1dWays },
        l2: c.l2Sets ? { sets: c.l2Sets, ways: c.l2Ways } : null,
      },
      walkCaches: { [first]: c.pdeEntries, [second]: c.pdpteEntries, [third]: c.pml4Entries },
    },
    paging: arm ? { format: 'arm64', granule: '4K', vaBits: 48 } : { format: 'x86-64', levels: 4 },
  };
}

describe.skipIf(!present)('replay counts what the native reference counts', () => {
  it.each(Object.keys(cases))('%s', async (name) => {
    const arm = name.startsWith('arm64');
    const trace = join(directory, 'trace.arrow');
    await convert([join(data, 'traces', name)], trace, {});
    const configs = cases[name].map((one) => resolveConfig(document(one, arm), one.name));
    const summaries = await replayTrace(trace, configs);
    const names = arm ? ARM : X86;
    const got = summaries.map(({ totals: { access, tlb, walk } }, i) => ({
      name: cases[name][i].name,
      access: { fetch: access.fetch, load: access.load, store: access.store },
      // Without a second level every first-level miss walks.
      tlb: { l1iMiss: tlb.l1i.miss, l1dMiss: tlb.l1d.miss, l2Miss: tlb.l2 ? tlb.l2.miss : walk.count },
      walk: {
        count: walk.count,
        refs: walk.refs,
        pdeHit: walk.cacheHits[names[0]],
        pdpteHit: walk.cacheHits[names[1]],
        pml4Hit: walk.cacheHits[names[2]],
      },
    }));
    expect(got).toEqual(cases[name].map(({ name: label, expected }) => ({ name: label, ...expected })));
  });
});
