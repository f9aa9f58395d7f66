// Operations of a server: user code, then one system call whose kernel text, read-only data and user buffers it touches. All
// parts draw from their working sets; data is read and written at random lines of a heap.

import { z } from 'zod';
import { key } from '../config/key.js';
import { checkCode, codeParameters, kernelCode, shapeOf, WALK } from './code.js';
import { type Row } from './emitter.js';
import { LINE, type Range, rodataOf, USER_TEXT } from './kernels.js';
import { bytes, type CommonParameters, type Contradiction, count, type Run, unless } from './scenario.js';
import { fits, WorkingSet } from './workingSet.js';

interface Defaults {
  textBytes: string;
  heapBytes: string;
  kernelFetches: number;
  userFetches: number;
}

/** The parameters of an operation. */
export const transactionParameters = ({ textBytes, heapBytes, kernelFetches, userFetches }: Defaults) => ({
  ...codeParameters(textBytes),
  ...WALK,
  kernelFetches: key(count(kernelFetches), 'lines of kernel text that an operation fetches', 'lines'),
  userTextBytes: key(bytes(LINE).prefault('96K'), 'user text in use', 'bytes'),
  userFetches: key(count(userFetches, 0), 'lines of user text that an operation fetches', 'lines'),
  rodataBytes: key(bytes(LINE).prefault('8K'), 'read-only data in use, from its start on', 'bytes'),
  rodataReads: key(count(90, 0), "an operation's reads of read-only data, uniform"),
  dataBytesPerOp: key(bytes(LINE, 0).prefault('4K'), 'data of an operation: lines of the heap, uniform', 'bytes'),
  heapBytes: key(bytes(LINE).prefault(heapBytes), 'heap', 'bytes'),
  storeShare: key(z.number().min(0).max(1).default(0.4), 'share of the data accesses that are stores'),
});

export type TransactionParameters = CommonParameters & z.output<z.ZodObject<ReturnType<typeof transactionParameters>>>;

/** Heaps have the upper half of the first root entry, clear of text and pages. */
const HEAPS: Range = { va: 2n ** 38n, bytes: 2 ** 38 };

/** What does not fit. */
export function checkTransactions(values: TransactionParameters): Contradiction[] {
  const { userTextBytes, functionLines, heapBytes, cpus } = values;
  return [
    ...checkCode(values),
    ...unless(
      fits(USER_TEXT, { bytes: userTextBytes, functionLines }),
      'userTextBytes',
      `expected functions that fit a text of ${USER_TEXT.bytes} bytes`,
    ),
    ...unless(heapBytes * cpus <= HEAPS.bytes, 'heapBytes', `expected ${cpus} heaps that fit ${HEAPS.bytes} bytes`),
  ];
}

/** The heap of number `index`. */
export function heapOf({ heapBytes }: { heapBytes: number }, index: number): Range {
  return { va: HEAPS.va + BigInt(index) * BigInt(heapBytes), bytes: heapBytes };
}

/** Rows of an operation, by the parameters. */
export class Transactions {
  private readonly kernelWalks: Iterator<bigint, never>[] = [];
  private readonly userWalks: Iterator<bigint, never>[] = [];
  private readonly kernelCode: WorkingSet;
  private readonly userCode: WorkingSet;

  constructor(private readonly run: Run<TransactionParameters>) {
    const { parameters, random } = run;
    this.kernelCode = kernelCode(run);
    this.userCode = new WorkingSet(USER_TEXT, shapeOf(parameters, parameters.userTextBytes), random);
  }

  /** One operation on a CPU whose data is in `heap`. */
  *operation(cpu: number, heap: Range): Generator<Row> {
    const { parameters, kernel, emit } = this.run;
    const { userFetches, kernelFetches, insnsPerLine, rodataReads, rodataBytes, dataBytesPerOp } = parameters;
    const kernelWalk = (this.kernelWalks[cpu] ??= this.kernelCode.walk());
    const userWalk = (this.userWalks[cpu] ??= this.userCode.walk());
    for (let i = 0; i < userFetches; i++) yield emit.userFetch(cpu, userWalk.next().value, insnsPerLine);
    yield* emit.event('kernel_enter', cpu);
    const rodata = { ...rodataOf(kernel.image), bytes: rodataBytes };
    const reads = paced(rodataReads, kernelFetches);
    const data = paced(dataBytesPerOp / LINE, kernelFetches);
    for (let i = 0; i < kernelFetches; i++) {
      yield emit.kernelFetch(cpu, kernelWalk.next().value, insnsPerLine);
      for (let n = reads(i); n > 0; n--) yield emit.kernelLoad(cpu, this.lineOf(rodata));
      for (let n = data(i); n > 0; n--) yield this.dataAccess(cpu, heap);
    }
    yield* emit.event('kernel_exit', cpu);
  }

  private dataAccess(cpu: number, heap: Range): Row {
    const { parameters, random, emit } = this.run;
    const va = this.lineOf(heap);
    return random.fraction() < parameters.storeShare ? emit.userStore(cpu, va) : emit.userLoad(cpu, va);
  }

  private lineOf({ va, bytes }: Range): bigint {
    return va + BigInt(LINE * this.run.random.below(bytes / LINE));
  }
}

/** How many of `total` fall to step i of `steps` when they are spread evenly. */
function paced(total: number, steps: number): (i: number) => number {
  return (i) => Math.floor(((i + 1) * total) / steps) - Math.floor((i * total) / steps);
}
