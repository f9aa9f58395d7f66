// HTML as a tagged template: every value put into it is escaped unless it is markup made the same way, so text from a
// trace or a configuration cannot become part of the page's structure.

/** Text that is already HTML. */
export class Markup {
  constructor(readonly text: string) {}
}

type Value = Markup | string | number | null | undefined | false | Value[];

/** markup`<td>${name}</td>`: escapes strings, joins lists, drops null, undefined and false. */
export function markup(parts: TemplateStringsArray, ...values: Value[]): Markup {
  return new Markup(parts.reduce((before, part, i) => before + asText(values[i - 1]) + part));
}

function asText(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(asText).join('');
  if (value === null || value === undefined || value === false) return '';
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
