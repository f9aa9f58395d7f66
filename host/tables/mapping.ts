// A table image as the mapping of a trace: accesses get the physical addresses that its tables translate them to.

import { join } from 'node:path';
import { UsageError } from '../../traces/errors.js';
import { openInput } from '../../traces/input.js';
import { type PageMapping } from '../../traces/map/mapping.js';
import { Translator } from './translate.js';

/** Opens the image in a folder; `root` names the root to look addresses up in where it has several. */
export async function imageMapping(folder: string, root: string | undefined): Promise<PageMapping> {
  const translator = await Translator.open(folder);
  if (root !== undefined && !translator.has(root))
    throw new UsageError(`--set root=${root}: ${folder} has the roots ${translator.rootNames.join(', ')}`);
  const roots = root === undefined ? rootsOfOneCpu(translator, folder) : [root];
  const files = ['registers.json', 'tablepages.csv', 'tablepages.bin'].map((name) => join(folder, name));
  return {
    pageBytes: translator.image.pages[0]?.bytes ?? 4096,
    source: `the tables ${roots.join(' and ')} of ${folder}`,
    size: translator.image.pages.length,
    translate(va) {
      for (const name of roots) {
        const { status, pa } = translator.translate(name, va, null);
        if (status === 'ok') return pa!;
      }
      return -1n;
    },
    input: await Promise.all(files.map(digestOf)),
  };
}

/** The roots of the only CPU: on Arm one for each half of the addresses. */
function rootsOfOneCpu({ rootNames }: Translator, folder: string): string[] {
  const first = rootNames.filter((name) => /^(cr3|ttbr[01])_cpu/.test(name));
  const cpus = new Set(first.map((name) => name.replace(/^.*_cpu/, '')));
  if (cpus.size === 1) return first;
  throw new UsageError(`${folder} has several roots: name one with --set root=NAME: ${rootNames.join(', ')}`);
}

async function digestOf(path: string) {
  const input = await openInput(path);
  return input.digest().finally(() => input.close());
}
