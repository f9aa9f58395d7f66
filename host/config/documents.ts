// Documents as they are read: YAML (JSON is read as YAML), with integers that a number cannot hold kept as hexadecimal
// text, and dotted paths into them.
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { UsageError } from '../../traces/errors.js';

/** A plain object of a document. */
export type Doc = Record<string, unknown>;

/** Whether a value is an object that has keys (not a list, not null). */
export function isDoc(value: unknown): value is Doc {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads YAML or JSON text; `origin` names it in errors. */
export function parseYaml(text: string, origin: string): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { intAsBigInt: true, prettyErrors: false, lineCounter: lines });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new UsageError(`${origin}: line ${line}, column ${col}: ${problem.message}`, { cause: problem });
  }
  try {
    return withoutBigInts(document.toJS());
  } catch (error) {
    // An unresolved or exponentially growing alias.
    throw new UsageError(`${origin}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads a YAML or JSON file; an empty file is an empty document. */
export function readDocument(path: string): unknown {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const found = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : (error as Error).message;
    throw new UsageError(`${path}: expected a YAML or JSON file, found ${found}`, { cause: error });
  }
  return parseYaml(text, path) ?? {};
}

function withoutBigInts(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    return value < 0n ? value.toString() : `0x${value.toString(16)}`;
  }
  if (Array.isArray(value)) return value.map(withoutBigInts);
  if (isDoc(value))
    return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, withoutBigInts(child)]));
  return value;
}

/** The value at a path, or undefined. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, name) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, name)
        ? (at as Record<PropertyKey, unknown>)[name]
        : undefined,
    value,
  );
}

/**
 * The document that states values at dotted paths, none of which is inside another; a number in a path is the index of
 * a list's element. Its objects have no prototype, so that any word is a key like any other.
 */
export function documentOf(values: Record<string, unknown>): Doc {
  const root = Object.create(null) as Doc;
  for (const [dotted, value] of Object.entries(values)) {
    const names = dotted.split('.');
    const last = names.pop()!;
    const holder = names.reduce((at, name) => (at[name] ??= Object.create(null)) as Doc, root);
    holder[last] = value;
  }
  return root;
}

/** A value for a message: as JSON on one line, shortened. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
