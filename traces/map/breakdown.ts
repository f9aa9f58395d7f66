// Where the last-level tables of a virtual machine lie, as its sockets see them (vMitosis, ASPLOS 2021,
// helper_ptdumps_calc_breakdown.py): a nested walk ends with two leaf tables, the guest's and the host's, and each of them
// lies on the socket that walks (L) or on another (R). Every mapped page of the guest counts once for each socket.
//
// The guest's leaf table lies on the node of the host frame behind it; the host's leaf table, which maps the page, on the
// node of its own frame. Pages of 2 MiB count once, and their leaf table is the one that holds the large entry, in the
// guest and in the host: the script of the paper is for 4 KiB pages only.

import { InputError } from '../errors.js';
import { type DumpedTable, ENTRIES, frameOf, hostFrame, isLeaf, isPresent, type TableDump } from './dump.js';

/** Pages by where the guest's and the host's leaf table lie, seen from one socket. */
export interface SocketBreakdown {
  socket: number;
  LL: number;
  LR: number;
  RL: number;
  RR: number;
}

export interface Breakdown {
  sockets: SocketBreakdown[];
  /** Pages of the guest with a leaf table that the host does not map, or that lies on no node. */
  lost: number;
}

/** The breakdown of a guest's tables over those of its host, which has to know the nodes. */
export function breakdownOf(guest: TableDump, host: TableDump): Breakdown {
  const nodeOf = nodesOf(host);
  const sockets = [...new Set(host.nodes.map(({ node }) => node))].sort((a, b) => a - b);
  /** Pages by node of the guest's and of the host's leaf table. */
  const pages = new Map<string, { guest: number; host: number; count: number }>();
  let lost = 0;
  for (const table of guest.tables.values()) {
    const backing = table.level <= 2 ? hostFrame(host, table.pfn) : -1;
    const guestNode = backing < 0 ? -1 : nodeOf(backing);
    for (let i = 0; i < ENTRIES; i++) {
      if (!isLeaf(table, i)) continue;
      const leaf = host.leafOf(BigInt(frameOf(table, i)) << 12n);
      const hostNode = leaf ? nodeOf(leaf.table.pfn) : -1;
      if (guestNode < 0 || hostNode < 0) {
        lost++;
        continue;
      }
      const key = `${guestNode} ${hostNode}`;
      const entry = pages.get(key) ?? { guest: guestNode, host: hostNode, count: 0 };
      entry.count++;
      pages.set(key, entry);
    }
  }
  const seen = (socket: number, guestLocal: boolean, hostLocal: boolean) =>
    [...pages.values()]
      .filter((p) => (p.guest === socket) === guestLocal && (p.host === socket) === hostLocal)
      .reduce((sum, { count }) => sum + count, 0);
  return {
    sockets: sockets.map((socket) => ({
      socket,
      ...{ LL: seen(socket, true, true), LR: seen(socket, true, false) },
      ...{ RL: seen(socket, false, true), RR: seen(socket, false, false) },
    })),
    lost,
  };
}

/** Tables and leaves of one dump by level and node. */
export interface Census {
  level: number;
  tables: number;
  /** Entries that map memory, and those of them without access. */
  leaves: number;
  withoutAccess: number;
  /** Tables on every node, in the order of the dump's nodes; empty where it has none. */
  perNode: number[];
}

/** What is in a dump, the root's level first. */
export function censusOf(dump: TableDump): Census[] {
  const nodeOf = dump.nodes.length > 0 ? nodesOf(dump) : null;
  return [4, 3, 2, 1].map((level) => {
    const tables = [...dump.tables.values()].filter((table) => table.level === level);
    const count = (counts: (table: DumpedTable, index: number) => boolean) =>
      tables.reduce((sum, table) => {
        for (let i = 0; i < ENTRIES; i++) if (counts(table, i)) sum++;
        return sum;
      }, 0);
    return {
      ...{ level, tables: tables.length, leaves: count(isLeaf) },
      withoutAccess: count((table, i) => isLeaf(table, i) && !isPresent(table, i)),
      perNode: dump.nodes.map(({ node }) => tables.filter(({ pfn }) => nodeOf!(pfn) === node).length),
    };
  });
}

/** The node of a frame; -1 where it lies on none. */
function nodesOf({ nodes, path }: TableDump): (pfn: number) => number {
  if (nodes.length === 0) {
    throw new InputError({ source: path, expected: 'the nodes of the host (<numamap>)', found: 'none in the dump' });
  }
  const ranges = nodes.flatMap(({ node, ranges }) =>
    ranges.map(({ from, to }) => ({ node, from: Number(BigInt(from) >> 12n), to: Number(BigInt(to) >> 12n) })),
  );
  return (pfn) => ranges.find(({ from, to }) => pfn >= from && pfn < to)?.node ?? -1;
}
