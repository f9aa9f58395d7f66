// The metadata of merged traces: one document for all.

import { isDeepStrictEqual } from 'node:util';
import { type ColumnName } from '../batch.js';
import { InputError } from '../errors.js';
import { metadataWith, type TraceMetadata } from '../metadata.js';
import { type Part } from './parts.js';

/**
 * One document for all; `apart`: every trace has CPUs of its own. Throws InputError where two say different things of the
 * machine, or of a phase.
 */
export function joinedDocument(
  parts: readonly Part[],
  columns: readonly ColumnName[],
  apart: boolean,
  concatenate: boolean,
): TraceMetadata {
  const documents = parts.map(({ metadata }) => metadata);
  /** The value that those have which know it. */
  const agreed = <T>(key: string, valueOf: (document: TraceMetadata) => T | null, advice?: string): T | null => {
    let known: { value: T; path: string } | null = null;
    for (const { metadata, reader } of parts) {
      const value = valueOf(metadata);
      if (value === null) continue;
      known ??= { value, path: reader.path };
      if (isDeepStrictEqual(value, known.value)) continue;
      throw new InputError({
        ...{
          source: reader.path,
          at: `metadata key "${key}"`,
          expected: `${JSON.stringify(known.value)}, as ${known.path}`,
        },
        ...{ found: JSON.stringify(value), advice },
      });
    }
    return known === null ? null : (known as { value: T }).value;
  };
  const ownCpus = '--separate cpus gives each trace CPUs of its own';
  const cpusOf = ({ cpus, cpuNode }: TraceMetadata) => cpus ?? cpuNode?.length ?? null;
  const all = <T>(valueOf: (document: TraceMetadata) => T | null): T[] | null => {
    const values = documents.map(valueOf);
    return values.includes(null) ? null : (values as T[]);
  };
  const phases = new Map<number, TraceMetadata['phases'][number]>();
  for (const { metadata, reader } of parts) {
    for (const phase of metadata.phases) {
      const known = phases.get(phase.number);
      if (known && known.name !== phase.name) {
        throw new InputError({
          ...{
            source: reader.path,
            at: `phase 0x${phase.number.toString(16)}`,
            expected: `the name "${known.name}" of the traces before`,
          },
          ...{
            found: `"${phase.name}"`,
            advice: 'cut the phase out, or convert one of the traces with other names (--meta)',
          },
        });
      }
      phases.set(phase.number, phase);
    }
  }
  const counts: Record<string, number> = {};
  for (const document of documents) {
    for (const [name, value] of Object.entries(document.counts)) counts[name] = (counts[name] ?? 0) + value;
  }
  // A count that not all have says nothing of the whole.
  for (const name of Object.keys(counts))
    if (documents.some((document) => document.counts[name] === undefined)) delete counts[name];
  const unique = <T>(values: readonly T[]) =>
    values.filter((value, i) => values.findIndex((v) => isDeepStrictEqual(v, value)) === i);
  return metadataWith({
    arch: agreed('arch', ({ arch }) => arch),
    paging: agreed('paging', ({ paging }) => paging),
    source: {
      tool: unique(documents.map(({ source }) => source.tool)).join(' + '),
      command: null,
      input: documents.flatMap(({ source }) => source.input),
    },
    cpus: apart ? (all(cpusOf)?.reduce((sum, n) => sum + n, 0) ?? null) : agreed('cpus', cpusOf, ownCpus),
    cpuNode: apart
      ? (all(({ cpuNode }) => cpuNode)?.flat() ?? null)
      : agreed('cpuNode', ({ cpuNode }) => cpuNode, ownCpus),
    nodes: agreed('nodes', ({ nodes }) => (nodes.length > 0 ? nodes : null)) ?? [],
    regions: unique(documents.flatMap(({ regions }) => regions)),
    phases: [...phases.values()],
    clock: concatenate ? agreed('clock', ({ clock }) => clock) : documents[0].clock,
    constants: Object.fromEntries(
      Object.entries(documents[0].constants).filter(([name]) => !columns.includes(name as ColumnName)),
    ),
    filters: unique(documents.flatMap(({ filters }) => filters)),
    counts,
    notes: unique(documents.flatMap(({ notes }) => notes)),
  });
}
