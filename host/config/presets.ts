// The presets that ship with the package: one YAML file each in host/config/presets, the first comment line of which
// says what machine it is.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UsageError } from '../../traces/errors.js';
import { packageRoot } from '../paths.js';
import { type Doc, parseYaml } from './documents.js';
import { suggest } from './nearest.js';

/** The preset under every configuration that names no other. */
export const GENERIC = 'generic';

const folder = join(packageRoot(), 'host/config/presets');

/** A preset as its file has it. */
export interface Preset {
  name: string;
  summary: string;
  doc: Doc;
}

/** The names of all presets, `generic` first. */
export function presetNames(): string[] {
  const names = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
  return names
    .map((file) => basename(file, '.yaml'))
    .sort((a, b) => Number(b === GENERIC) - Number(a === GENERIC) || (a < b ? -1 : 1));
}

/** Reads a preset; `origin` is the document that names it. */
export function readPreset(name: string, origin: string): Preset {
  const names = presetNames();
  if (!names.includes(name)) throw new UsageError(`${origin}: unknown preset ${name}${suggest(name, names)}`);
  const text = readFileSync(join(folder, `${name}.yaml`), 'utf8');
  const doc = (parseYaml(text, `preset ${name}`) ?? {}) as Doc;
  return { name, summary: text.slice(0, text.indexOf('\n')).replace(/^#\s*/, ''), doc };
}
