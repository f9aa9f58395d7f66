// Makes a trace of files in another format, or a file in another format of a trace: several inputs of one format become
// one, in the order given or, where they ran at once, by time.

import { existsSync, realpathSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { type Batch, type ColumnName } from './batch.js';
import { countRows, noRows, totalRows, type RowCounts } from './counts.js';
import { detectFormat, FORMATS, formatNamed } from './detect.js';
import { InputError, UsageError } from './errors.js';
import { type TraceExporter } from './export/format.js';
import { exporterNamed } from './export/index.js';
import { writeBytes } from './files.js';
import { type Parsed, type TraceFormat } from './format.js';
import { trace } from './formats/trace.js';
import { openInput, type Input, type InputDigest } from './input.js';
import { mappedColumns, noneMapped, withMapping, type Mapped } from './map/apply.js';
import { MAP_OPTIONS } from './map/index.js';
import { type PageMapping } from './map/mapping.js';
import { mergeByTime } from './merge.js';
import { metadataWith, type TraceMetadata } from './metadata.js';
import { inOrder } from './schema.js';
import { shorten } from './sniff.js';
import { Threads } from './threads.js';
import { writeTrace, type Written } from './writer.js';

export interface ConvertOptions {
  /** Name of the format; found out by content when absent. */
  from?: string;
  /** Name of the format to write; a trace when absent. */
  to?: string;
  /** Options of the formats, by name. */
  set?: Readonly<Record<string, string>>;
  /** Metadata that counts for more than what the inputs say. */
  meta?: Partial<TraceMetadata>;
  /** Where accesses get their physical addresses from. */
  map?: PageMapping;
  compress?: 'lz4';
  dropMmio?: boolean;
  /** false: add no events that the files beside a capture tell. They are added to the rows of a single input. */
  derive?: boolean;
  /** Bytes of the inputs read so far, and of all of them where that is known. */
  onProgress?(done: number, total: number | null): void;
  warn?(message: string): void;
}

export interface Converted extends Written {
  format: string;
  metadata: TraceMetadata;
}

/** Converts `paths` (files, "-" for standard input, folders of a format that has them) and writes `output`. */
export async function convert(
  paths: readonly string[],
  output: string,
  options: ConvertOptions = {},
): Promise<Converted> {
  const exporter = options.to ? exporterNamed(options.to) : null;
  const named = options.from ? formatNamed(options.from) : null;
  const files = (await Promise.all(paths.map((path) => expand(path, named)))).flat();
  for (const path of files) {
    if (path !== '-' && existsSync(path) && existsSync(output) && realpathSync(path) === realpathSync(output))
      throw new UsageError(`${output}: expected an output that is not one of the inputs; name another with -o`);
  }
  const inputs: Input[] = [];
  try {
    for (const path of files) inputs.push(await openInput(path));
    const format = named ?? commonFormat(inputs);
    checkOptions(options, format, exporter);
    const warn = options.warn ?? (() => {});
    const threads = new Threads(options.meta?.cpus ?? null);
    const parsed: Parsed[] = [];
    for (const input of inputs) {
      parsed.push(
        await format.parse(input, {
          dropMmio: options.dropMmio,
          derive: options.derive !== false && inputs.length === 1,
          meta: options.meta ?? {},
          set: options.set ?? {},
          threads,
          warn,
        }),
      );
    }
    const counts = noRows();
    const found = commonColumns(parsed, inputs);
    const placed = options.map && options.map.size > 0 ? options.map : null;
    const columns = placed ? mappedColumns(found) : found;
    const mapped = noneMapped();
    const rows = joined(format, parsed, found);
    const placing = {
      overwrite: options.set?.overwrite === 'yes',
      // What another format says is complete only after the last row.
      asid: options.meta?.constants?.asid ?? (format === trace ? parsed[0].metadata().constants?.asid : 0) ?? 0,
    };
    const batches = observed(
      placed ? withMapping(rows, placed, placing, mapped) : rows,
      parsed,
      inputs,
      counts,
      options,
    );
    const metadata = async () => {
      const digests = await Promise.all(inputs.map((input) => input.digest()));
      return withMap(combine(format, parsed, digests, counts, options), options.map, mapped);
    };
    if (exporter) {
      const known = { ...metadataWith(parsed[0].metadata()), ...options.meta };
      const bytes = await writeBytes(
        output,
        exporter.encode(batches, {
          columns,
          metadata: known,
          document: metadata,
          output,
          set: options.set ?? {},
          warn,
        }),
      );
      return { rows: totalRows(counts), bytes, format: format.name, metadata: await metadata() };
    }
    let document = metadataWith();
    const finish = async () => (document = await metadata());
    const written = await writeTrace(output, columns, batches, finish, { compress: options.compress });
    return { ...written, format: format.name, metadata: document };
  } finally {
    await Promise.all(inputs.map((input) => input.close()));
  }
}

/** The files that a path stands for: itself, or what a format finds in a folder. */
async function expand(path: string, named: TraceFormat | null): Promise<readonly string[]> {
  const info = path === '-' ? null : await stat(path).catch(() => null);
  if (!info?.isDirectory()) return [path];
  const names = (await readdir(path)).sort();
  const formats = (named ? [named] : FORMATS).filter((format) => format.folder);
  for (const format of formats) {
    const files = format.folder!(path, names);
    if (files) return files;
  }
  throw new InputError({
    source: path,
    expected: formats.length ? `a file, or a folder of ${formats.map((f) => f.name).join(' or ')}` : 'a file',
    found: `a folder with ${names.length ? shorten(names.join(', ')) : 'nothing in it'}`,
  });
}

/** Refuses options that neither the format nor the exporter has. */
function checkOptions({ set = {}, map }: ConvertOptions, format: TraceFormat, exporter: TraceExporter | null): void {
  const known = [...Object.keys(format.options ?? {}), ...Object.keys(exporter?.options ?? {})];
  if (map) known.push(...Object.keys(MAP_OPTIONS));
  const unknown = Object.keys(set).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const names = exporter ? `${format.name} and ${exporter.name}` : format.name;
  throw new UsageError(
    `--set ${unknown}: unknown option; ${names} ${known.length ? `has ${known.join(', ')}` : 'has none'}`,
  );
}

/** The columns of all inputs, which have to agree. */
function commonColumns(parsed: readonly Parsed[], inputs: readonly Input[]): readonly ColumnName[] {
  const columns = inOrder(parsed[0].columns);
  const odd = parsed.findIndex((p) => inOrder(p.columns).join() !== columns.join());
  if (odd < 0) return columns;
  throw new InputError({
    source: inputs[odd].path,
    expected: `the columns of ${inputs[0].path}, ${columns.join(', ')}`,
    found: inOrder(parsed[odd].columns).join(', '),
    advice: 'convert them one by one',
  });
}

/** The rows of all inputs: by time where they ran at once, else one input after the other. */
async function* joined(
  format: TraceFormat,
  parsed: readonly Parsed[],
  columns: readonly ColumnName[],
): AsyncGenerator<Batch> {
  if (parsed.length > 1 && format.concurrent) {
    const streams = parsed.map((p) => p.batches);
    yield* mergeByTime(streams, columns);
  } else for (const { batches } of parsed) yield* batches;
}

/** Counts the rows that pass, and tells the progress. */
async function* observed(
  batches: AsyncIterable<Batch>,
  parsed: readonly Parsed[],
  inputs: readonly Input[],
  counts: RowCounts,
  { onProgress }: ConvertOptions,
): AsyncGenerator<Batch> {
  const sizes = inputs.map((input) => input.size);
  const total = sizes.includes(null) ? null : sizes.reduce((sum: number, size) => sum + size!, 0);
  for await (const batch of batches) {
    countRows(batch, counts);
    yield batch;
    onProgress?.(
      inputs.reduce((sum, input, i) => sum + (parsed[i].taken?.() ?? input.taken()), 0),
      total,
    );
  }
}

/** The format that all inputs have. */
function commonFormat(inputs: readonly Input[]): TraceFormat {
  const formats = inputs.map(detectFormat);
  const odd = formats.findIndex((format) => format !== formats[0]);
  if (odd < 0) return formats[0];
  throw new InputError({
    source: inputs[odd].path,
    expected: `the format of ${inputs[0].path}, ${formats[0].name}`,
    found: formats[odd].name,
    advice: 'convert them one by one',
  });
}

/** One document for all inputs: lists are joined, counts added, everything else is that of the first input. */
function combine(
  format: TraceFormat,
  parsed: readonly Parsed[],
  digests: readonly InputDigest[],
  counts: RowCounts,
  { meta }: ConvertOptions,
): TraceMetadata {
  const documents = parsed.map((p) => p.metadata());
  const first = metadataWith(documents[0]);
  const added: Record<string, number> = { ...counts };
  for (const document of documents) {
    for (const [key, value] of Object.entries(document.counts ?? {})) added[key] = (added[key] ?? 0) + value;
  }
  const phases = new Map(documents.flatMap((d) => d.phases ?? []).map((phase) => [phase.number, phase]));
  const known = {
    ...first,
    // A trace keeps what it was captured from; this conversion is a step of its history.
    ...(format === trace || first.source.input.length > 0
      ? { history: [...first.history, { step: 'convert', input: [...digests] }] }
      : { source: { ...first.source, input: [...digests] } }),
    phases: [...phases.values()],
    filters: documents.flatMap((d) => d.filters ?? []),
    notes: [...new Set(documents.flatMap((d) => d.notes ?? []))],
    counts: added,
  };
  return { ...known, ...meta, source: { ...known.source, ...meta?.source } };
}

/** The document of a trace that was given physical addresses, or regions, by a mapping. */
function withMap(document: TraceMetadata, map: PageMapping | undefined, counts: Mapped): TraceMetadata {
  if (!map) return document;
  const { mapped, kept, unmapped } = counts;
  const total = mapped + kept + unmapped;
  const note = `pa: from ${map.source}: ${mapped} of ${total} accesses${kept > 0 ? `, ${kept} had one` : ''}, ${unmapped} unmapped`;
  return {
    ...document,
    // What the trace knows itself counts for more.
    nodes: document.nodes.length > 0 ? document.nodes : [...(map.nodes ?? [])],
    regions: document.regions.length > 0 ? document.regions : [...(map.regions ?? [])],
    history: [...document.history, { step: 'map', input: [...(map.input ?? [])] }],
    counts: map.size > 0 ? { ...document.counts, unknownPa: unmapped } : document.counts,
    notes: map.size > 0 ? [...document.notes, note] : document.notes,
  };
}
