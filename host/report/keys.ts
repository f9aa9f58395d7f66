// The varied keys of a sweep: short names, the values in order, which keys matter to a metric, and what each setting
// does with everything else equal.

import { type CellData, signature, type TraceData } from './sweepData.js';

/** `machine.tlb.l2.ways` -> `tlb.l2.ways`; the whole path where two keys would read the same. */
export function shortKey(key: string, keys: string[]): string {
  const short = (path: string) => path.slice(path.indexOf('.') + 1);
  return keys.filter((other) => short(other) === short(key)).length > 1 ? key : short(key);
}

/** A varied value as a label: text as it is, TLB arrays as sets x ways, none for null, everything else as JSON without quotes. */
export function valueLabel(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === null) return 'none';
  if (Array.isArray(value) && value.length > 0 && value.every(isTlbArray)) return value.map(valueLabel).join(' + ');
  if (isTlbArray(value)) return `${value.sets}×${value.ways}${value.pages ? ` ${value.pages.join('/')}` : ''}`;
  return (JSON.stringify(value) ?? '-').replace(/"/g, '');
}

/** One array of a TLB level, and nothing else. */
function isTlbArray(value: unknown): value is { sets: number; ways: number; pages?: string[] | null } {
  if (typeof value !== 'object' || value === null || !('sets' in value) || !('ways' in value)) return false;
  return Object.keys(value).every((key) => ['sets', 'ways', 'pages'].includes(key));
}

/** The values of some keys in one line. */
export function cellLabel(varied: Record<string, unknown>, keys: string[]): string {
  return keys.map((key) => valueLabel(varied[key])).join(' · ');
}

/** The same, with the name of a key where its value alone does not say what it is. */
export function namedLabel(varied: Record<string, unknown>, keys: string[]): string {
  const named = (key: string) => (typeof varied[key] === 'string' ? '' : `${key.slice(key.lastIndexOf('.') + 1)} `);
  return keys.map((key) => `${named(key)}${valueLabel(varied[key])}`).join(' · ');
}

/** The distinct values of a key: numbers ascending, all else as the experiment lists them. */
export function values(cells: CellData[], key: string): unknown[] {
  const distinct = [...new Map(cells.map(({ varied }) => [valueLabel(varied[key]), varied[key]])).values()];
  return distinct.every((value) => typeof value === 'number') ? distinct.sort((a, b) => a - b) : distinct;
}

/**
 * The keys that a metric depends on: a key is dropped when the metric differs by at most `tolerance` for all its values,
 * all else equal. Keys that were varied together (zip) leave one of them, which stands for all.
 */
export function relevantKeys(
  cells: CellData[],
  keys: string[],
  value: (cell: CellData) => number,
  tolerance: number,
): string[] {
  let kept = keys;
  for (const key of keys) {
    const rest = kept.filter((other) => other !== key);
    const groups = groupBy(cells, ({ varied }) => signature(varied, rest));
    if (groups.every((group) => spread(group.map(value)) <= tolerance)) kept = rest;
  }
  return kept;
}

/** Whether some cells differ in this key only; keys that were varied together (zip) do not. */
export function variesAlone(cells: CellData[], keys: string[], key: string): boolean {
  const rest = keys.filter((other) => other !== key);
  return groupBy(cells, ({ varied }) => signature(varied, rest)).some((group) => group.length > 1);
}

/** The largest less the smallest value. */
export function spread(numbers: number[]): number {
  return numbers.reduce((a, b) => Math.max(a, b)) - numbers.reduce((a, b) => Math.min(a, b));
}

/** Lists of the items that share a name, in order of first appearance. */
export function groupBy<T>(items: T[], name: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(name(item));
    if (group) group.push(item);
    else groups.set(name(item), [item]);
  }
  return [...groups.values()];
}

/** What changing one key from the baseline's value does, over all settings of the other keys. */
export interface Effect {
  key: string;
  from: unknown;
  to: unknown;
  /** T_old/T_new - 1 of the geometric mean, the worst and the best pair. */
  mean: number;
  least: number;
  most: number;
  pairs: number;
}

/** The effects of every key of a trace; keys that never change alone (zip) have none. */
export function effects({ cells, baseline }: TraceData, keys: string[]): Effect[] {
  return keys.flatMap((key) => {
    const rest = keys.filter((other) => other !== key);
    const groups = groupBy(cells, ({ varied }) => signature(varied, rest));
    const [first, ...others] = values(cells, key);
    const from = baseline ? baseline.varied[key] : first;
    const find = (group: CellData[], value: unknown) =>
      group.find(({ varied }) => valueLabel(varied[key]) === valueLabel(value));
    return [first, ...others].flatMap((to) => {
      if (valueLabel(to) === valueLabel(from)) return [];
      const ratios = groups.flatMap((group) => {
        const [before, after] = [find(group, from), find(group, to)];
        return before && after ? [before.flat['cycles.total'] / after.flat['cycles.total']] : [];
      });
      const usable = ratios.filter((ratio) => ratio > 0 && Number.isFinite(ratio));
      if (usable.length === 0) return [];
      const mean = Math.exp(usable.reduce((sum, ratio) => sum + Math.log(ratio), 0) / usable.length) - 1;
      return [
        { key, from, to, mean, least: Math.min(...usable) - 1, most: Math.max(...usable) - 1, pairs: usable.length },
      ];
    });
  });
}
