// On which CPU a thread runs where a capture has threads and no CPUs: thread k, in order of appearance, on CPU k modulo
// the CPUs.

/** The threads of a capture, numbered as they appear. */
export class Threads {
  /** CPUs that sources name themselves: one more than the highest. */
  private named = 0;
  private readonly numbers = new Map<number | bigint, number>();

  /** `cpus`: of the machine that runs them; without it every thread has a CPU of its own. */
  constructor(readonly cpus: number | null) {}

  /** The CPU of a thread, by whatever the source calls it. */
  cpuOf(thread: number | bigint): number {
    let number = this.numbers.get(thread);
    if (number === undefined) this.numbers.set(thread, (number = this.numbers.size));
    return this.cpus === null ? number : number % this.cpus;
  }

  /** Notes a CPU that a source names itself. */
  ran(cpu: number): void {
    if (cpu >= this.named) this.named = cpu + 1;
  }

  /** Threads seen. */
  get count(): number {
    return this.numbers.size;
  }

  /** CPUs in use. */
  get cpusUsed(): number {
    return Math.max(this.named, this.cpus === null ? this.count : Math.min(this.count, this.cpus));
  }
}
