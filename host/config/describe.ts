// The configuration keys as the text of `--help`.
import { configJsonSchema, propertiesOf } from './keys.js';

/** One line for each top-level key and one for the keys below it; docs/configuration.md has all of them. */
export function describeConfig(): string {
  return Object.entries(configJsonSchema.properties!)
    .flatMap(([name, node]) => {
      const below = Object.keys(propertiesOf(node, configJsonSchema) ?? {});
      const list = below.length > 0 ? [`${' '.repeat(11)}${below.join(', ')}`] : [];
      return [`  ${name.padEnd(8)} ${node.description}`, ...list];
    })
    .join('\n');
}
