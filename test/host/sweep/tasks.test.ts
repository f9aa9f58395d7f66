import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { type PlannedCell, type PlannedTrace } from '../../../host/sweep/plan.js';
import { tasksOf } from '../../../host/sweep/tasks.js';

const config = resolveConfig({}, 'test');

/** Cells of traces with these records, so many of each. */
function cellsOf(traces: { records: number; cells: number }[]): PlannedCell[] {
  let index = 0;
  return traces.flatMap(({ records, cells }, t) => {
    const file = { path: `/t${t}.arrow`, bytes: 1, mtimeMs: 1, sha256: `${t}` };
    const source: PlannedTrace = {
      file,
      path: file.path,
      given: file.path,
      name: `t${t}`,
      records,
      columns: [],
      metadata: null,
    };
    return Array.from({ length: cells }, () => {
      const cell = { index: index++, name: source.name, trace: file.path, part: 0, varied: {}, config, baseline: null };
      return { ...cell, source, hash: `${cell.index}` };
    });
  });
}

const shape = (cells: PlannedCell[], jobs: number) =>
  tasksOf(cells, jobs).map((task) => task.cells.map(({ index }) => index));

describe('tasks', () => {
  it('have at most eight cells, of one trace, spread evenly', () => {
    // 18 cells for one worker: min(8, 18) lanes, three tasks, so six each.
    expect(shape(cellsOf([{ records: 10, cells: 18 }]), 1).map((cells) => cells.length)).toEqual([6, 6, 6]);
  });

  it('are small enough for every worker to have one', () => {
    // 4 cells for 4 workers: one each; for 8 workers still one each.
    expect(shape(cellsOf([{ records: 10, cells: 4 }]), 4)).toEqual([[0], [1], [2], [3]]);
    expect(shape(cellsOf([{ records: 10, cells: 4 }]), 8)).toEqual([[0], [1], [2], [3]]);
  });

  it('never mix traces, and the longest come first', () => {
    const cells = cellsOf([
      { records: 10, cells: 2 },
      { records: 1000, cells: 2 },
    ]);
    expect(shape(cells, 1)).toEqual([
      [2, 3],
      [0, 1],
    ]);
  });

  it('hold cells that replay the rows equally often, and those with the most passes come first', () => {
    const cells = cellsOf([{ records: 10, cells: 4 }]).map((cell) =>
      cell.index % 2 === 0
        ? cell
        : { ...cell, config: resolveConfig({ replay: { hot: 2, repeat: { 7: 3 } } }, 'test') },
    );
    expect(shape(cells, 1)).toEqual([
      [1, 3],
      [0, 2],
    ]);
  });

  it('are none when there are no cells', () => {
    expect(tasksOf([], 4)).toEqual([]);
  });
});
