// One configuration key: a zod schema with the sentence and the unit that --help, the documentation and the JSON Schema
// print. Put it outermost, around defaults and transforms.
import { type z } from 'zod';

/** What zod's metadata of a key may hold beside its own fields. */
export interface KeyMeta {
  description: string;
  unit?: string;
}

/** Gives a schema its doc sentence and, where it is a quantity, its unit. */
export function key<T extends z.ZodType>(schema: T, description: string, unit?: string): T {
  const meta: KeyMeta = unit === undefined ? { description } : { description, unit };
  return schema.meta({ ...meta }) as T;
}
