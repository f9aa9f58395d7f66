// Data sources by core, as tools/perf/util/arm-spe.c and arm-spe-decoder.h have them.

import { describe, expect, it } from 'vitest';
import { coreName, dataSource } from '../../../traces/spe/dataSource.js';

describe('a data source', () => {
  // MIDR_EL1: implementer 31..24, variant 23..20, architecture f, part 15..4, revision 3..0.
  it.each([
    [0x413fd0c1, 'Neoverse N1', 0x0d, 'remote chip'],
    [0x410fd400, 'Neoverse V1', 0x08, 'l2'],
    [0x410fd493, 'Neoverse N2', 0x0b, 'system cache'],
    [0x410fd4f0, 'Neoverse V2', 0x0e, 'dram'],
    [0xc00fac40, 'AmpereOne A', 0x07, 'dram'],
    [0xc00fac40, 'AmpereOne A', 0x05, 'remote chip'],
    [0x480fd060, 'HiSilicon HIP12', 7, 'remote chip'],
    [0x480fd060, 'HiSilicon HIP12', 9, 'remote dram'],
  ] as const)('of MIDR %i (%s), %i, is %s', (midr, name, source, expected) => {
    expect(coreName(midr)).toBe(name);
    expect(dataSource(midr, source)).toBe(expected);
  });

  it('is unknown on other cores, and where a table has no such number', () => {
    // 0x480fd010: HiSilicon TSV110.
    expect(dataSource(0x480fd010, 8)).toBe('unknown');
    expect(dataSource(undefined, 8)).toBe('unknown');
    expect(dataSource(0x413fd0c1, 1)).toBe('unknown');
  });
});
