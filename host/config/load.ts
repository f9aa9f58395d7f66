// From a document to a resolved configuration: find the preset below it, lay the documents over each other in order,
// check the result. Errors name the document that stated the offending key.
import { existsSync } from 'node:fs';
import { UsageError } from '../../traces/errors.js';
import { type Doc, documentOf, isDoc, parseYaml, readDocument, shown, valueAt } from './documents.js';
import { contradictions } from './contradictions.js';
import { type Problem, problemsOf, stating, unknownKeys } from './issues.js';
import { configJsonSchema } from './keys.js';
import { STAGE2_CACHES, type TlbArray, WALK_CACHES, walkCachesOf } from './machine.js';
import { merge } from './merge.js';
import { suggest } from './nearest.js';
import { formatOf, type PageSize, pageSizes, type Stages } from './paging.js';
import { GENERIC, presetNames, readPreset } from './presets.js';
import { type Config, configSchema } from './schema.js';

/** A document that states part of a configuration, and what errors call it. */
export interface Layer {
  doc: Doc;
  origin: string;
}

/** A configuration and where it came from. */
export interface Loaded {
  config: Config;
  origin: string;
}

/** Loads a file or preset (default: `generic`) with `--set key=value` overrides, each laid over what is before it. */
export function loadConfig({ source = GENERIC, sets = [] }: { source?: string; sets?: string[] } = {}): Loaded {
  return { config: resolveLayers([loadDocument(source), ...layersOfSets(sets)]), origin: source };
}

/** Resolves a document. A resolved configuration resolves to itself. */
export function resolveConfig(doc: unknown, origin: string): Config {
  return resolveLayers([asLayer(doc, origin)]);
}

/** The document that a preset's name or a file's path stands for. */
export function loadDocument(source: string): Layer {
  const names = presetNames();
  if (names.includes(source)) return { doc: { extends: source }, origin: source };
  if (!existsSync(source)) {
    throw new UsageError(
      `expected a preset or a configuration file, found ${shown(source)}, which is neither${suggest(source, names)}`,
    );
  }
  return asLayer(readDocument(source), source);
}

/** A value that must be an object of keys. */
export function asLayer(doc: unknown, origin: string): Layer {
  if (!isDoc(doc)) throw new UsageError(`${origin}: expected an object of configuration keys, found ${shown(doc)}`);
  return { doc, origin };
}

/** Lays the documents over the preset that they extend and checks what comes out. */
export function resolveLayers(layers: readonly Layer[]): Config {
  report(layers.flatMap((layer) => located([layer], unknownKeys(layer.doc, configJsonSchema))));
  const last = layers.findLast(({ doc }) => doc.extends !== undefined);
  const name = last?.doc.extends ?? GENERIC;
  if (typeof name !== 'string') {
    throw new UsageError(`${last!.origin}: extends: expected the name of a preset, found ${shown(name)}`);
  }
  const base = presetBase(name, last?.origin ?? GENERIC);
  const onto = (below: Doc) => layers.reduce((doc, { doc: over, origin }) => merge(doc, over, origin) as Doc, below);
  const { paging, system } = onto(base) as { paging: unknown; system?: { name?: unknown } };
  const format = formatOf(paging);
  const merged = onto(format ? fitted(base, format, system?.name === 'host-stage2') : base);
  const parsed = configSchema.safeParse(merged);
  if (!parsed.success) report(located(layers, problemsOf(parsed.error, merged)));
  report(located(layers, contradictions(parsed.data!)));
  return parsed.data!;
}

/** What a preset and those that it extends state, over the schema's defaults; it extends nothing any more. */
function presetBase(name: string, origin: string): Doc {
  if (name === GENERIC) return { ...configSchema.parse(readPreset(name, origin).doc), extends: null };
  const { doc } = readPreset(name, origin);
  const below = presetBase((doc.extends as string | undefined) ?? GENERIC, `preset ${name}`);
  return { ...(merge(below, doc, `preset ${name}`) as Doc), extends: null };
}

/**
 * A preset for another paging format than its own: TLB arrays lose the page sizes that the format does not have (and go
 * when none is left), walk caches of other levels or of a missing second stage are 0, and a page size that the format
 * lacks is not inherited.
 */
function fitted(base: Doc, format: Stages, hostStage2: boolean): Doc {
  const sizes = pageSizes(format);
  const { machine, paging, ...rest } = base as unknown as Config;
  const fit = (level: TlbArray | TlbArray[] | null) =>
    [level ?? []].flat().flatMap((array) => {
      const pages = array.pages?.filter((size) => sizes.includes(size)) ?? null;
      return pages?.length === 0 ? [] : [{ ...array, pages }];
    });
  const own = [...walkCachesOf(format), ...(format.stage2 || hostStage2 ? STAGE2_CACHES : [])];
  const { pageSize, ...withoutPageSize } = paging as { pageSize?: PageSize | { default: PageSize } };
  const policySize = typeof pageSize === 'string' ? pageSize : pageSize?.default;
  return {
    ...rest,
    machine: {
      ...machine,
      tlb: { l1i: fit(machine.tlb.l1i), l1d: fit(machine.tlb.l1d), l2: fit(machine.tlb.l2) },
      walkCaches: Object.fromEntries(
        WALK_CACHES.map((name) => [name, own.includes(name) ? machine.walkCaches[name] : 0]),
      ),
    },
    paging: policySize && sizes.includes(policySize) ? paging : withoutPageSize,
  };
}

/** `--set key=value` overrides as documents, in the order in which they are to be laid over others. */
export function layersOfSets(sets: readonly string[]): Layer[] {
  return sets.map(layerOfSet).sort(inOrder);
}

function layerOfSet(set: string): Layer {
  const origin = `--set ${set}`;
  const [, dotted, text] = /^\s*([^=\s]+?)\s*=(.*)$/s.exec(set) ?? [];
  if (dotted === undefined || dotted.split('.').includes('')) {
    throw new UsageError(`${origin}: expected KEY=VALUE with a dotted key, as in machine.tlb.l2.ways=16`);
  }
  return { doc: documentOf({ [dotted]: parseYaml(text, origin) }), origin };
}

/** Keys that drop others go first, `topology` goes after `nodes`: so the order of --set does not matter among them. */
const rank = ({ doc }: Layer) => {
  if (valueAt(doc, ['paging', 'format']) !== undefined) return 0;
  if (valueAt(doc, ['paging', 'stage2', 'format']) !== undefined) return 1;
  const { machine } = doc as { machine?: Doc };
  return machine?.topology !== undefined && Object.keys(machine).length === 1 ? 3 : 2;
};
const inOrder = (a: Layer, b: Layer) => rank(a) - rank(b);

function located(layers: readonly Layer[], problems: readonly Problem[]): string[] {
  return problems.map(({ path, message }) => {
    const { origin } = stating(layers, path)!;
    return path.length > 0 ? `${origin}: ${path.join('.')}: ${message}` : `${origin}: ${message}`;
  });
}

function report(problems: readonly string[]): void {
  if (problems.length > 0) throw new UsageError([...new Set(problems)].join('\n'));
}
