// db-text: a server whose kernel text in use is larger than a CPU's own caches: operations on all CPUs of a node, with data of their
// own in a heap for each CPU. One process on all CPUs, so its rows need no ASID. A phase per node.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { type Row } from '../emitter.js';
import { count, parameters, type Run, scenario, unless } from '../scenario.js';
import { checkTransactions, heapOf, Transactions, transactionParameters } from '../transactions.js';

const schema = parameters(
  {
    operations: key(count(100), 'operations on each CPU'),
    node: key(
      z.union([z.int().min(0), z.literal('all')]).default('all'),
      'node whose CPUs work; all: one after the other',
    ),
    ...transactionParameters({ textBytes: '2M', heapBytes: '64M', kernelFetches: 3000, userFetches: 0 }),
  },
  (values) => [
    ...checkTransactions(values),
    ...unless(values.node === 'all' || values.node < values.nodes, 'node', `expected a node below ${values.nodes}`),
  ],
);

type Server = Run<z.output<typeof schema>>;

export const dbText = scenario({
  name: 'db-text',
  summary: 'a server with a large working set of kernel text, and data on its own node',
  notes:
    'An operation is: `userFetches` fetches of user text, `kernel_enter`, `kernelFetches` fetches of kernel text with the reads of read-only data and of the heap spread evenly between them, `kernel_exit`. Data rows are user accesses of one line each, `dataBytesPerOp` / 64 of them. Each CPU has a heap of its own. The CPUs of a node take turns, an operation each. Defaults are those of redis on arm64 as captured (about 3,300 line visits of the kernel and 1,200 of user text per request of the server, 7 instructions each, runs of 1.75 lines, 90 reads of read-only data, 40 % stores, Zipf exponent 0.65 to 0.75); the captured text in use is 260 KiB, here it is larger than a second-level cache. A Zipf law over more text has fewer hits than a program of that size: with `textBytes=2M` as many lines miss a first-level cache of 64 KiB as redis has, 27 per 1,000 instructions, at `skew=1.2`; the default leaves 34 that miss a second level of 1 MiB too. Database servers spend about 30 % of their instructions in the kernel: `userFetches=7000`.',
  schema,
  examples: [
    'nodewalk synth db-text -o db.arrow --set arch=arm64 --set textBytes=4M --set node=1',
    'nodewalk synth db-text -o db.arrow --set userFetches=1200 --set userTextBytes=1M --set skew=0',
    'nodewalk synth db-text -o db.arrow --set arch=arm64 --set node=1 --set skew=1.2 --set userFetches=7000 --set userTextBytes=1M --set dataBytesPerOp=16K --set heapBytes=256M',
  ],
  without: ['asid'],
  *rows(run) {
    const { parameters, nodes, emit } = run;
    const transactions = new Transactions(run);
    for (const [node, cpus] of nodes.entries())
      if (parameters.node === 'all' || parameters.node === node)
        yield* emit.phase(node + 1, `node ${node}`, cpus[0], serve(run, transactions, cpus));
  },
});

/** The CPUs take turns, an operation each. */
function* serve({ parameters }: Server, transactions: Transactions, cpus: number[]): Generator<Row> {
  for (let i = 0; i < parameters.operations; i++)
    for (const cpu of cpus) yield* transactions.operation(cpu, heapOf(parameters, cpu));
}
