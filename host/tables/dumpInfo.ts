// What is in a page-table dump, for `nodewalk info`: tables and leaves by level and node, and of a guest with its host where the
// leaf tables of both lie, as every socket sees it.

import { InputError } from '../../traces/errors.js';
import { type Breakdown, breakdownOf, type Census, censusOf } from '../../traces/map/breakdown.js';
import { readDump } from '../../traces/map/index.js';
import { type MappingOptions } from '../../traces/map/mapping.js';
import { percent } from '../format.js';
import { table } from '../table.js';

/** A page-table dump as info prints it. */
export interface DumpInfo {
  path: string;
  source: string;
  roots: number;
  nodes: number[];
  levels: Census[];
  host: string | null;
  breakdown: Breakdown | null;
}

/** Reads a dump, and that of its host; null when `path` is none. */
export async function dumpInfo(
  path: string,
  host: string | undefined,
  options: MappingOptions,
): Promise<DumpInfo | null> {
  const dump = await readDump(path, options);
  if (!dump) return null;
  const below = host === undefined ? null : await readDump(host, options);
  if (host !== undefined && !below)
    throw new InputError({ source: host, expected: 'the page-table dump of the host', found: 'something else' });
  return {
    ...{ path, source: dump.source, roots: dump.roots.length, nodes: dump.nodes.map(({ node }) => node) },
    levels: censusOf(dump),
    host: host ?? null,
    breakdown: below && breakdownOf(dump, below),
  };
}

/** The same as tables. */
export function dumpPage({ path, source, roots, nodes, levels, breakdown }: DumpInfo): string {
  const parts = [
    table(
      [{ name: 'dump' }, { name: path }],
      [
        ['made by', source],
        ['roots', `${roots}`],
      ],
    ),
    table(
      ['level', 'tables', 'leaves', 'without access', ...nodes.map((node) => `tables on node ${node}`)].map((name) => ({
        name,
      })),
      levels.map((c) => [c.level, c.tables, c.leaves, c.withoutAccess, ...c.perNode]),
    ),
  ];
  if (breakdown) {
    const shares = ['LL', 'LR', 'RL', 'RR'] as const;
    parts.push(
      table(
        [
          { name: 'socket' },
          ...shares.map((name) => ({ name })),
          ...shares.map((name) => ({ name: `${name} %`, align: 'right' as const })),
        ],
        breakdown.sockets.map((socket) => {
          const all = shares.reduce((sum, name) => sum + socket[name], 0);
          return [
            socket.socket,
            ...shares.map((name) => socket[name]),
            ...shares.map((name) => percent(all === 0 ? 0 : socket[name] / all)),
          ];
        }),
      ),
    );
    if (breakdown.lost > 0)
      parts.push(`pages whose leaf table the host does not map, or that lies on no node: ${breakdown.lost}\n`);
  }
  return parts.join('\n');
}
