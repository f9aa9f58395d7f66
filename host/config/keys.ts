// The schemas as JSON Schema, and what is read off it: the keys that an object may have, and all of them.
import { z } from 'zod';
import { configSchema, wholeObjects } from './schema.js';

/** The part of JSON Schema (draft 7) that zod makes of the schemas here. */
export interface SchemaNode {
  $ref?: string;
  type?: string | string[];
  description?: string;
  unit?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  properties?: Record<string, SchemaNode>;
  additionalProperties?: boolean | SchemaNode;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
  oneOf?: SchemaNode[];
  allOf?: SchemaNode[];
  required?: string[];
  definitions?: Record<string, SchemaNode>;
}

/**
 * The JSON Schema of a document. A document is merged into what it extends, so nothing is required in objects that
 * merge, and a paging section without `format` may be of either format.
 */
export function documentSchema(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-7',
    override: ({ zodSchema, jsonSchema }) => {
      if (!wholeObjects.has(zodSchema)) delete jsonSchema.required;
      if (jsonSchema.oneOf) {
        jsonSchema.anyOf = jsonSchema.oneOf;
        delete jsonSchema.oneOf;
      }
    },
  }) as SchemaNode;
}

/** The JSON Schema of a configuration document, for editors: docs/config.schema.json. */
export const configJsonSchema = documentSchema(configSchema);

/** The alternatives that a node stands for, references followed. */
export function alternatives(node: SchemaNode, root: SchemaNode): SchemaNode[] {
  if (node.$ref !== undefined) return alternatives(root.definitions![node.$ref.split('/').at(-1)!], root);
  const parts = node.anyOf ?? node.allOf;
  return parts ? parts.flatMap((part) => alternatives(part, root)) : [node];
}

/** The keys that an object at this node may have, each with its own node; undefined where keys are not the schema's. */
export function propertiesOf(node: SchemaNode, root: SchemaNode): Record<string, SchemaNode> | undefined {
  const parts = alternatives(node, root).flatMap(({ properties }) => (properties ? [properties] : []));
  return parts.length > 0 ? (Object.assign({}, ...parts) as Record<string, SchemaNode>) : undefined;
}

/** What the elements of a list at this node may be; undefined where no list may stand. */
export function elementsOf(node: SchemaNode, root: SchemaNode): SchemaNode | undefined {
  const parts = alternatives(node, root).flatMap(({ items }) => (items ? [items] : []));
  return parts.length > 0 ? { anyOf: parts } : undefined;
}

/** The dotted paths of all keys; keys of a list's elements follow the list's own path. */
export function dottedKeys(node: SchemaNode = configJsonSchema, root: SchemaNode = configJsonSchema): string[] {
  const own = Object.entries(propertiesOf(node, root) ?? {}).flatMap(([name, child]) => [
    name,
    ...dottedKeys(child, root).map((below) => `${name}.${below}`),
  ]);
  const elements = elementsOf(node, root);
  return [...new Set([...own, ...(elements ? dottedKeys(elements, root) : [])])];
}
