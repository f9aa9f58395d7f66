// What the tests of formats need: a fixture, or text, converted to a trace and given as plain rows.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { convert, type Converted, type ConvertOptions } from '../../traces/convert.js';
import { rowsOf, type Row } from './support.js';

export interface Seen extends Converted {
  trace: Row[];
  warnings: string[];
}

/** The path of a fixture. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** Functions that convert a file, or a text, in a folder of the test's own. */
export function converter(path: (name: string) => string) {
  let count = 0;
  const ofFile = async (file: string, options: ConvertOptions = {}): Promise<Seen> => {
    const output = path(`converted-${count++}.arrow`);
    const warnings: string[] = [];
    const converted = await convert([file], output, { ...options, warn: (message) => warnings.push(message) });
    return { ...converted, trace: await rowsOf(output), warnings };
  };
  const ofText = async (text: string | Uint8Array, options: ConvertOptions = {}): Promise<Seen> => {
    const file = path(`text-${count++}`);
    writeFileSync(file, text);
    return ofFile(file, options);
  };
  return { ofFile, ofText };
}
