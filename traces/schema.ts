// The columns of a trace as an Arrow schema: one table of names, types and meanings from which the schema is made, rows
// become a record batch, and the columns of a foreign file are found among whatever else it holds.
// Arrow columnar format: a column of integers is one field node and two buffers, validity and values.

import {
  DataType,
  Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Uint16,
  Uint32,
  Uint64,
  Uint8,
  type TypeMap,
} from 'apache-arrow';
import { type Batch, type ColumnName } from './batch.js';
import { InputError } from './errors.js';

type ColumnType = Uint8 | Uint16 | Uint32 | Uint64;
type ColumnArray = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;
type ColumnArrayType =
  Uint8ArrayConstructor | Uint16ArrayConstructor | Uint32ArrayConstructor | BigUint64ArrayConstructor;

/** One column: its Arrow type, the typed array that holds it, and what it means. */
export interface Column {
  name: ColumnName;
  type: ColumnType;
  array: ColumnArrayType;
  required: boolean;
  description: string;
}

const column = (
  name: ColumnName,
  type: ColumnType,
  array: ColumnArrayType,
  required: boolean,
  description: string,
): Column => ({ name, type, array, required, description });

export const COLUMNS: readonly Column[] = [
  column('cpu', new Uint16(), Uint16Array, true, 'logical CPU'),
  column('kind', new Uint8(), Uint8Array, true, '0 fetch, 1 load, 2 store; 16 and up: events'),
  column('va', new Uint64(), BigUint64Array, true, "virtual address (an event's first operand)"),
  column('pa', new Uint64(), BigUint64Array, false, 'physical address; all ones where the capture does not know it'),
  column('size', new Uint16(), Uint16Array, false, 'bytes; 0 where the capture does not know them'),
  column('insns', new Uint8(), Uint8Array, false, 'instructions a fetch row stands for; 1 when absent'),
  column('mode', new Uint8(), Uint8Array, false, '0 user, 1 kernel, 2 hypervisor; +16 inside a guest'),
  column('asid', new Uint32(), Uint32Array, false, 'address space'),
  column('vm', new Uint16(), Uint16Array, false, 'virtual machine; 0 is the host'),
  column('tid', new Uint32(), Uint32Array, false, 'thread, where the source has threads'),
  column('time', new Uint64(), BigUint64Array, false, 'capture time; unit in the metadata'),
  column('arg', new Uint64(), BigUint64Array, false, "an event's second operand"),
];

/** The table's entry of a column. */
export function columnOf(name: ColumnName): Column {
  return COLUMNS.find((c) => c.name === name)!;
}

/** The names in the table's order, whatever order they come in. */
export function inOrder(names: readonly ColumnName[]): ColumnName[] {
  return COLUMNS.map((c) => c.name).filter((name) => names.includes(name));
}

/** The Arrow schema of a trace with these columns; `metadata` is the schema's own, and may still be filled later. */
export function schemaOf(names: readonly ColumnName[], metadata: Map<string, string>): Schema {
  return new Schema(
    inOrder(names).map((name) => new Field(name, columnOf(name).type, false)),
    metadata,
  );
}

/** A record batch over the batch's own arrays (no copy). */
export function toRecordBatch(schema: Schema, batch: Batch): RecordBatch {
  const children = schema.fields.map((field) => {
    const data = batch[field.name as ColumnName] as ColumnArray;
    return makeData({ type: field.type as Uint64, length: batch.rows, nullCount: 0, data: data as BigUint64Array });
  });
  const struct = new Struct<TypeMap>(schema.fields);
  return new RecordBatch(schema, makeData({ type: struct, length: batch.rows, nullCount: 0, children }));
}

/** Where a column lies in every record batch: its field node, and its validity buffer, which its values follow. */
export interface ColumnPlace {
  column: Column;
  node: number;
  buffer: number;
}

/**
 * Finds the trace's columns in a file's schema. Columns of other names are passed over.
 * Throws InputError when a required column is missing or one has another type.
 */
export function placeColumns(schema: Schema, source: string): ColumnPlace[] {
  const places: ColumnPlace[] = [];
  let node = 0;
  let buffer = 0;
  for (const field of schema.fields) {
    const known = COLUMNS.find((c) => c.name === field.name);
    if (known) {
      if (field.type.toString() !== known.type.toString()) {
        throw new InputError({
          source,
          at: `column "${known.name}"`,
          expected: `type ${known.type}`,
          found: `${field.type}`,
          advice: 'cast the column before writing the file',
        });
      }
      places.push({ column: known, node, buffer });
    }
    const extent = extentOf(field.type, source, field.name);
    node += extent.nodes;
    buffer += extent.buffers;
  }
  for (const { name, required } of COLUMNS) {
    if (required && !places.some((p) => p.column.name === name)) {
      throw new InputError({
        source,
        expected: `a column "${name}"`,
        found: `the columns ${schema.fields.map((f) => f.name).join(', ') || '(none)'}`,
        advice: 'docs/formats.md lists the columns of a trace',
      });
    }
  }
  return places;
}

/** Whether a file with this schema is a trace as it stands. */
export function isTrace(schema: Schema): boolean {
  return COLUMNS.every(({ name, type, required }) => {
    const field = schema.fields.find((f) => f.name === name);
    return field ? field.type.toString() === type.toString() : !required;
  });
}

/** Field nodes and buffers that a column of this type takes in a record batch (Arrow columnar format, "Buffer listing"). */
export function extentOf(type: DataType, source: string, name: string): { nodes: number; buffers: number } {
  const extent = { nodes: 1, buffers: 0 };
  if (DataType.isDictionary(type)) extent.buffers = 2;
  else if (DataType.isNull(type)) extent.buffers = 0;
  else if (DataType.isUnion(type)) extent.buffers = DataType.isDenseUnion(type) ? 2 : 1;
  else if (DataType.isStruct(type) || DataType.isFixedSizeList(type)) extent.buffers = 1;
  else if (
    DataType.isUtf8(type) ||
    DataType.isBinary(type) ||
    DataType.isLargeUtf8(type) ||
    DataType.isLargeBinary(type)
  ) {
    extent.buffers = 3;
  } else if (DataType.isUtf8View(type) || DataType.isBinaryView(type)) {
    throw new InputError({
      source,
      at: `column "${name}"`,
      expected: 'a column of fixed layout',
      found: `${type}`,
      advice: 'drop the column or write it as a plain string',
    });
  } else extent.buffers = 2;
  if (!DataType.isDictionary(type)) {
    for (const child of type.children ?? []) {
      const below = extentOf(child.type, source, name);
      extent.nodes += below.nodes;
      extent.buffers += below.buffers;
    }
  }
  return extent;
}
