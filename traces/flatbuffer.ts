// Whether bytes are a flatbuffer of Arrow's metadata (Schema.fbs, Message.fbs, File.fbs), checked before apache-arrow
// decodes them: it follows whatever offsets and lengths it finds, and a damaged one can keep it busy without end.
// A table is an offset back to its vtable, which has the place of every field; what a field holds is told here.

type Kind =
  /** Characters, or a vector of so many bytes an element. */
  | { vector: number }
  | { table: () => Shape }
  | { tables: () => Shape }
  /** A table whose shape an earlier byte of the table tells. */
  | { union: (type: number) => Shape; type: number };

/** The fields with offsets, by number. */
type Shape = Readonly<Record<number, Kind>>;

const STRING: Kind = { vector: 1 };
const NOTHING: Shape = {};
const KEY_VALUE: Shape = { 0: STRING, 1: STRING };
const METADATA: Kind = { tables: () => KEY_VALUE };
const DICTIONARY: Shape = { 1: { table: () => NOTHING } };
const TIMESTAMP = 10;
const UNION = 14;
const TYPES: Readonly<Record<number, Shape>> = { [TIMESTAMP]: { 1: STRING }, [UNION]: { 1: { vector: 4 } } };
const FIELD: Shape = {
  0: STRING,
  3: { union: (type) => TYPES[type] ?? NOTHING, type: 2 },
  4: { table: () => DICTIONARY },
  5: { tables: () => FIELD },
  6: METADATA,
};
const SCHEMA: Shape = { 1: { tables: () => FIELD }, 2: METADATA, 3: { vector: 8 } };
const RECORD_BATCH: Shape = { 1: { vector: 16 }, 2: { vector: 16 }, 3: { table: () => NOTHING }, 4: { vector: 8 } };
const DICTIONARY_BATCH: Shape = { 1: { table: () => RECORD_BATCH } };
const HEADERS: Readonly<Record<number, Shape>> = { 1: SCHEMA, 2: DICTIONARY_BATCH, 3: RECORD_BATCH };
const MESSAGE: Shape = { 2: { union: (type) => HEADERS[type] ?? NOTHING, type: 1 }, 4: METADATA };
const FOOTER: Shape = { 1: { table: () => SCHEMA }, 2: { vector: 24 }, 3: { vector: 24 }, 4: METADATA };

/** Tables of the largest schema that is believed, and how deep they may lie in each other. */
const MAX_TABLES = 200_000;
const MAX_DEPTH = 64;

class Checker {
  private tables = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Whether the table that the offset at `at` leads to lies inside the bytes with all that it holds. */
  leadsToTable(at: number, shape: Shape, depth = 0): boolean {
    return this.holds(at, 4) && this.isTable(at + this.view.getUint32(at, true), shape, depth);
  }

  private isTable(at: number, shape: Shape, depth: number): boolean {
    if (++this.tables > MAX_TABLES || depth > MAX_DEPTH || !this.holds(at, 4)) return false;
    const vtable = at - this.view.getInt32(at, true);
    if (!this.holds(vtable, 4)) return false;
    const vtableBytes = this.view.getUint16(vtable, true);
    if (vtableBytes < 4 || !this.holds(vtable, vtableBytes)) return false;
    const place = (field: number) => {
      const entry = 4 + 2 * field;
      const offset = entry + 2 <= vtableBytes ? this.view.getUint16(vtable + entry, true) : 0;
      return offset === 0 ? -1 : at + offset;
    };
    return Object.entries(shape).every(([field, kind]) => {
      const from = place(Number(field));
      return from < 0 || this.isField(from, kind, place, depth);
    });
  }

  private isField(at: number, kind: Kind, place: (field: number) => number, depth: number): boolean {
    if ('table' in kind) return this.leadsToTable(at, kind.table(), depth + 1);
    if ('union' in kind) {
      const type = place(kind.type);
      return this.leadsToTable(at, kind.union(type >= 0 && this.holds(type, 1) ? this.bytes[type] : 0), depth + 1);
    }
    if (!this.holds(at, 4)) return false;
    const vector = at + this.view.getUint32(at, true);
    if (!this.holds(vector, 4)) return false;
    const length = this.view.getUint32(vector, true);
    if (!this.holds(vector + 4, length * ('vector' in kind ? kind.vector : 4))) return false;
    if ('vector' in kind) return true;
    const shape = kind.tables();
    for (let i = 0; i < length; i++) if (!this.leadsToTable(vector + 4 + 4 * i, shape, depth + 1)) return false;
    return true;
  }

  private holds(at: number, length: number): boolean {
    return at >= 0 && at + length <= this.bytes.length;
  }
}

/** Whether these bytes are a message (schema, dictionary or record batch). */
export function isMessage(bytes: Uint8Array): boolean {
  return new Checker(bytes).leadsToTable(0, MESSAGE);
}

/** Whether these bytes are the footer of an Arrow file. */
export function isFooter(bytes: Uint8Array): boolean {
  return new Checker(bytes).leadsToTable(0, FOOTER);
}
