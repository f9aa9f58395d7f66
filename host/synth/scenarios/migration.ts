// migration: one task that runs user and kernel code and moves to the next node every so many operations, to that node's first CPU.
// Its memory stays where it was first touched. A phase per node, which begins again whenever the task comes back.

import { key } from '../../config/key.js';
import { KERNEL_MM, type Row } from '../emitter.js';
import { count, parameters, scenario } from '../scenario.js';
import { checkTransactions, heapOf, Transactions, transactionParameters } from '../transactions.js';
import { clear, populate, USER_SPACE } from '../userSpace.js';

const schema = parameters(
  {
    operations: key(count(64), 'operations of the task'),
    every: key(count(8), 'operations from one move to the next'),
    ...USER_SPACE,
    ...transactionParameters({ textBytes: '256K', heapBytes: '1M', kernelFetches: 300, userFetches: 200 }),
  },
  checkTransactions,
);

export const migration = scenario({
  name: 'migration',
  summary: 'a task that runs user and kernel code moves between nodes',
  notes:
    'Outside the phases: `mm_create`, `ctx_switch`, the address space. Then operations like those of db-text; every `every` operations a `ctx_switch` to the kernel on the CPU that is left and one to the task on the first CPU of the next node. A phase per node, which begins again whenever the task comes back.',
  schema,
  examples: ['nodewalk synth migration -o migration.arrow --set nodes=4 --set every=2'],
  *rows(run) {
    const { parameters, nodes, emit } = run;
    const { operations, every } = parameters;
    const transactions = new Transactions(run);
    const heap = heapOf(parameters, 0);
    let node = 0;
    let [cpu] = nodes[node];
    const task = yield* emit.create(cpu);
    yield* emit.switchTo(cpu, task);
    yield* populate(emit, cpu, task, parameters);
    for (let done = 0; done < operations; done += every) {
      if (done > 0) {
        yield* emit.switchTo(cpu, KERNEL_MM);
        node = (node + 1) % nodes.length;
        [cpu] = nodes[node];
        yield* emit.switchTo(cpu, task);
      }
      const stay = Math.min(every, operations - done);
      yield* emit.phase(
        node + 1,
        `node ${node}`,
        cpu,
        repeat(stay, () => transactions.operation(cpu, heap)),
      );
    }
    yield* clear(emit, cpu, task, parameters);
    yield* emit.switchTo(cpu, KERNEL_MM);
    yield* emit.event('mm_destroy', cpu, task);
  },
});

function* repeat(times: number, rows: () => Iterable<Row>): Generator<Row> {
  for (let i = 0; i < times; i++) yield* rows();
}
