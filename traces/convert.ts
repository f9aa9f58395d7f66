// Makes a trace of files in another format: several inputs of one format become one trace, in the order given.

import { existsSync, realpathSync } from 'node:fs';
import { type Batch } from './batch.js';
import { countRows, noRows, type RowCounts } from './counts.js';
import { detectFormat, formatNamed } from './detect.js';
import { InputError, UsageError } from './errors.js';
import { type Parsed, type TraceFormat } from './format.js';
import { openInput, type Input, type InputDigest } from './input.js';
import { metadataWith, type TraceMetadata } from './metadata.js';
import { writeTrace, type Written } from './writer.js';

export interface ConvertOptions {
  /** Name of the format; found out by content when absent. */
  from?: string;
  /** Metadata that counts for more than what the inputs say. */
  meta?: Partial<TraceMetadata>;
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

/** Converts `paths` ("-" is standard input) and writes the trace `output`. */
export async function convert(
  paths: readonly string[],
  output: string,
  options: ConvertOptions = {},
): Promise<Converted> {
  const inputs: Input[] = [];
  for (const path of paths) {
    if (path !== '-' && existsSync(path) && existsSync(output) && realpathSync(path) === realpathSync(output))
      throw new UsageError(`${output}: expected an output that is not one of the inputs; name another with -o`);
  }
  try {
    for (const path of paths) inputs.push(await openInput(path));
    const format = options.from ? formatNamed(options.from) : commonFormat(inputs);
    const parsed = await Promise.all(
      inputs.map((input) =>
        format.parse(input, {
          dropMmio: options.dropMmio,
          derive: options.derive !== false && inputs.length === 1,
          meta: options.meta ?? {},
          warn: options.warn ?? (() => {}),
        }),
      ),
    );
    const counts = noRows();
    let metadata = metadataWith();
    const finish = () => {
      const documents = parsed.map((p) => p.metadata());
      const digests = inputs.map((input) => input.digest());
      return (metadata = combine(documents, digests, counts, options));
    };
    const batches = concatenate(parsed, inputs, counts, options);
    const written = await writeTrace(output, parsed[0].columns, batches, finish, { compress: options.compress });
    return { ...written, format: format.name, metadata };
  } finally {
    await Promise.all(inputs.map((input) => input.close()));
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

async function* concatenate(
  parsed: readonly Parsed[],
  inputs: readonly Input[],
  counts: RowCounts,
  { onProgress }: ConvertOptions,
): AsyncGenerator<Batch> {
  const sizes = inputs.map((input) => input.size);
  const total = sizes.includes(null) ? null : sizes.reduce((sum: number, size) => sum + size!, 0);
  for (const { batches } of parsed) {
    for await (const batch of batches) {
      countRows(batch, counts);
      yield batch;
      onProgress?.(
        inputs.reduce((sum, input) => sum + input.taken(), 0),
        total,
      );
    }
  }
}

/** One document for all inputs: lists are joined, counts added, everything else is that of the first input. */
function combine(
  documents: readonly Partial<TraceMetadata>[],
  digests: readonly InputDigest[],
  counts: RowCounts,
  { meta }: ConvertOptions,
): TraceMetadata {
  const first = metadataWith(documents[0]);
  const added: Record<string, number> = { ...counts };
  for (const document of documents) {
    for (const [key, value] of Object.entries(document.counts ?? {})) added[key] = (added[key] ?? 0) + value;
  }
  const phases = new Map(documents.flatMap((d) => d.phases ?? []).map((phase) => [phase.number, phase]));
  const known = {
    ...first,
    source: { ...first.source, input: [...digests] },
    phases: [...phases.values()],
    filters: documents.flatMap((d) => d.filters ?? []),
    notes: [...new Set(documents.flatMap((d) => d.notes ?? []))],
    counts: added,
  };
  return { ...known, ...meta, source: { ...known.source, ...meta?.source } };
}
