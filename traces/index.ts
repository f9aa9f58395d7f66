// The trace library's public face.

export * from './batch.js';
export * from './errors.js';
export { EVENTS, FIRST_EVENT, isKnownKind, kindName, MARKER, OPERANDS, PHASE_BEGIN, PHASE_END } from './events.js';
export type { EventKind } from './events.js';
export { COLUMNS, columnOf, inOrder, schemaOf, toRecordBatch, type Column } from './schema.js';
export { METADATA_KEY, metadataWith, parseMetadata, parseOverrides, type TraceMetadata } from './metadata.js';
export { TraceReader, type RowRange } from './reader.js';
export { sliceBatch, writeTrace, type WriteOptions, type Written } from './writer.js';
export { openInput, type Input, type InputDigest } from './input.js';
export { EXPORTERS, exporterNamed } from './export/index.js';
export { type ExportOptions, type TraceExporter } from './export/format.js';
export { mergeByTime } from './merge.js';
export { Threads } from './threads.js';
export { type ParseOptions, type Parsed, type TraceFormat } from './format.js';
export { detectFormat, FORMATS, formatNamed } from './detect.js';
export { MACHINES } from './machines.js';
export { convert, type Converted, type ConvertOptions } from './convert.js';
export { countRows, noRows, totalRows, type RowCounts } from './counts.js';
export { inspect, type PageCounts, type PhaseInfo, type TraceInfo } from './info.js';
export { readSnapshots, type Snapshot, type SnapshotPage } from './derive/snapshot.js';
export { readTableStores, TableStores } from './derive/stores.js';
export { writeBytes, writeWhole } from './files.js';
