// How one document is laid over another: objects merge key by key, everything else replaces. Three places know more:
// the keys of `machine` that describe the same thing, a change of paging format, and values with a shorter form.
import { UsageError } from '../../traces/errors.js';
import { type Doc, isDoc } from './documents.js';
import { withStage2Format } from './paging.js';

/** The result of laying `over` on `base`; neither is changed. `path` is where both stand in their documents. */
export function merge(base: unknown, over: unknown, origin: string, path: readonly string[] = []): unknown {
  if (!isDoc(over)) return over;
  const dotted = path.join('.');
  if (Array.isArray(base) && isIndexed(over)) return mergeElements(base, over, origin, path);
  if (
    dotted.startsWith('machine.tlb.') &&
    Array.isArray(base) &&
    base.length > 1 &&
    !('sets' in over && 'ways' in over)
  ) {
    throw new UsageError(
      `${origin}: ${dotted} is a list of ${base.length} arrays in what this changes: address one of them, as in ` +
        `${dotted}.0.${Object.keys(over)[0]}, or state the level as a whole`,
    );
  }
  const below = inherited(dotted, base, over);
  const names = new Set([...Object.keys(below), ...Object.keys(over)]);
  const merged = Object.fromEntries(
    [...names].map((name) => [
      name,
      Object.hasOwn(over, name) ? merge(below[name], over[name], origin, [...path, name]) : below[name],
    ]),
  );
  // At once, so that a later document that states the same format is seen to change nothing.
  return dotted === 'paging' ? withStage2Format(merged) : merged;
}

/** What an object inherits from the value below it. */
function inherited(dotted: string, base: unknown, over: Doc): Doc {
  const below = objectForm(dotted, base);
  if (dotted === 'machine') return inheritedMachine(below, over);
  const hasFormat = dotted === 'paging' || dotted === 'paging.stage2';
  if (hasFormat && over.format !== undefined && over.format !== below.format) return {};
  return below;
}

/** CPUs and nodes are described either by `cpuNode` or by `nodes`, `cpus` and `topology`; stating one drops the other. */
function inheritedMachine(below: Doc, over: Doc): Doc {
  const states = (name: string) => over[name] !== undefined && over[name] !== null;
  if (states('cpuNode')) return without(below, ['nodes', 'cpus', 'topology']);
  if (states('nodes') || states('cpus')) return { ...without(below, ['cpuNode']), topology: 'blocks' };
  return below;
}

/** A list of one TLB array is that array, and a page size alone is a policy without rules. */
function objectForm(dotted: string, base: unknown): Doc {
  if (isDoc(base)) return base;
  if (dotted.startsWith('machine.tlb.') && Array.isArray(base) && base.length === 1 && isDoc(base[0])) return base[0];
  if (dotted === 'paging.pageSize' && typeof base === 'string') return { default: base };
  return {};
}

/** Whether the keys are indices, as `--set machine.tlb.l1d.0.ways=4` makes them. */
export function isIndexed(doc: Doc): boolean {
  const names = Object.keys(doc);
  return names.length > 0 && names.every((name) => /^\d+$/.test(name));
}

function mergeElements(base: unknown[], over: Doc, origin: string, path: readonly string[]): unknown[] {
  const result = [...base];
  for (const [index, value] of Object.entries(over)) {
    if (Number(index) >= base.length) {
      throw new UsageError(
        `${origin}: ${[...path, index].join('.')}: the list that this changes has ${base.length} elements, counted from 0`,
      );
    }
    result[Number(index)] = merge(base[Number(index)], value, origin, [...path, index]);
  }
  return result;
}

function without(doc: Doc, names: readonly string[]): Doc {
  return Object.fromEntries(Object.entries(doc).filter(([name]) => !names.includes(name)));
}
