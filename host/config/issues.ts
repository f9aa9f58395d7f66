// What zod and the schema find wrong with a document, as messages: the dotted path, what was expected, what was found.
import { type z } from 'zod';
import { type Doc, isDoc, shown, valueAt } from './documents.js';
import { dottedKeys, elementsOf, propertiesOf, type SchemaNode } from './keys.js';
import { isIndexed } from './merge.js';
import { suggest } from './nearest.js';

/** Something wrong at a path of a document. */
export interface Problem {
  path: string[];
  message: string;
}

/** The keys of a document that the schema does not know. */
export function unknownKeys(doc: unknown, root: SchemaNode, node: SchemaNode = root, path: string[] = []): Problem[] {
  const elements = elementsOf(node, root);
  if (elements && (Array.isArray(doc) || (isDoc(doc) && isIndexed(doc)))) {
    return Object.entries(doc).flatMap(([index, value]) => unknownKeys(value, root, elements, [...path, index]));
  }
  const known = propertiesOf(node, root);
  if (!isDoc(doc) || !known) return [];
  return Object.entries(doc).flatMap(([name, value]) => {
    const at = [...path, name];
    if (Object.hasOwn(known, name)) return unknownKeys(value, root, known[name], at);
    const here = Object.keys(known).map((key) => [...path, key].join('.'));
    return [{ path: at, message: `unknown key${suggest(at.join('.'), here, dottedKeys(root, root))}` }];
  });
}

/** The problems of a failed parse; `doc` is what was parsed. */
export function problemsOf(error: z.core.$ZodError, doc: unknown): Problem[] {
  return error.issues.flatMap((issue) => fromIssue(issue, doc, []));
}

function fromIssue(issue: z.core.$ZodIssue, doc: unknown, above: string[]): Problem[] {
  const path = [...above, ...issue.path.map(String)];
  const found = valueAt(doc, path);
  const expected = (what: string, advice = '') => [
    { path, message: `expected ${what}, found ${shown(found)}${advice}` },
  ];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((name) => ({ path: [...path, name], message: unknownHere(name, found, path) }));
    case 'invalid_type':
      return expected(issue.expected === 'int' ? 'an integer' : article(issue.expected));
    case 'too_big':
      return expected(`${quantity(issue.origin)}at most ${issue.maximum}`);
    case 'too_small':
      return expected(`${quantity(issue.origin)}at least ${issue.minimum}`);
    case 'invalid_value':
      return expected(expectation(issue), nearestValue(issue, found));
    case 'invalid_key':
      return [{ path, message: `${issue.issues[0].message}, found ${shown(path.at(-1))}` }];
    case 'invalid_union': {
      if (issue.errors.length === 0) return expected((issue as unknown as { options: string[] }).options.join(' or '));
      // The alternative that the value has the type of says what is wrong; without one, all say what they expect.
      const fits = issue.errors.find((errors) => errors.some((inner) => inner.path.length > 0 || !isTypeIssue(inner)));
      if (fits) return fits.flatMap((inner) => fromIssue(inner, doc, path));
      const inner = issue.errors.flat();
      return expected(inner.map(expectation).join(' or '), inner.map((one) => nearestValue(one, found)).join(''));
    }
    default:
      return [{ path, message: `${issue.message}, found ${shown(found)}` }];
  }
}

/** A key that another format of the same section has, or one that the unknown-key check could not see. */
function unknownHere(name: string, found: unknown, path: string[]): string {
  const format = isDoc(found) ? found.format : undefined;
  return format === undefined
    ? `unknown key ${name}`
    : `${[...path, 'format'].join('.')} ${shown(format)} has no such key`;
}

/** Whether an issue says that a value is of another kind: a word that is none of the allowed ones counts as that. */
const isTypeIssue = (issue: z.core.$ZodIssue) => issue.code === 'invalid_type' || issue.code === 'invalid_value';

const nearestValue = (issue: z.core.$ZodIssue, found: unknown) =>
  issue.code === 'invalid_value' && typeof found === 'string' ? suggest(found, issue.values.map(String)) : '';

const expectation = (issue: z.core.$ZodIssue): string =>
  issue.code === 'invalid_type'
    ? article(issue.expected)
    : issue.code === 'invalid_value'
      ? issue.values.map(String).join(' or ')
      : issue.message;

const article = (type: string) =>
  ({ object: 'an object', array: 'a list', int: 'an integer', record: 'an object' })[type] ?? `a ${type}`;

const quantity = (origin: string) =>
  origin === 'array' ? 'a list whose length is ' : origin === 'string' ? 'text of length ' : '';

/** The document among several that states the longest part of a path: the one to name in a message about it. */
export function stating<T extends { doc: Doc }>(layers: readonly T[], path: readonly string[]): T | undefined {
  const depth = ({ doc }: T) => {
    let length = path.length;
    while (length > 0 && valueAt(doc, path.slice(0, length)) === undefined) length--;
    return length;
  };
  return layers.reduce<T | undefined>(
    (best, layer) => (!best || depth(layer) >= depth(best) ? layer : best),
    undefined,
  );
}
