// The nearest known name, for errors about unknown ones.
import { closest, distance } from 'fastest-levenshtein';

/**
 * `; did you mean NAME?`: the nearest of the names (those that contain the unknown one come first), or a key of the same
 * name that stands `elsewhere` when none of the names is close. Empty when there are no names.
 */
export function suggest(unknown: string, names: readonly string[], elsewhere: readonly string[] = []): string {
  if (names.length === 0) return '';
  const word = unknown.toLowerCase();
  const containing = names.filter((name) => name.toLowerCase().includes(word));
  const near = containing.length > 0 ? containing[0] : closest(word, [...names]);
  const moved = elsewhere.find((path) => path.split('.').at(-1) === unknown.split('.').at(-1));
  return `; did you mean ${moved && distance(unknown, near) > 1 ? moved : near}?`;
}
