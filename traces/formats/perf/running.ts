// Which thread ran on which CPU when, from the context switches of a capture.

/** Threads by CPU, in order of time. */
export class Running {
  private readonly switches = new Map<number, { times: bigint[]; tids: number[] }>();

  /** From `time` on thread `tid` runs on `cpu`. */
  set(cpu: number, time: bigint, tid: number): void {
    let list = this.switches.get(cpu);
    if (!list) this.switches.set(cpu, (list = { times: [], tids: [] }));
    list.times.push(time);
    list.tids.push(tid);
  }

  /** The thread on `cpu` at `time`; undefined before the first switch that is known. */
  at(cpu: number, time: bigint): number | undefined {
    const list = this.switches.get(cpu);
    if (!list) return undefined;
    let low = 0;
    for (let high = list.times.length; low < high;) {
      const middle = (low + high) >> 1;
      if (list.times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return list.tids[low - 1];
  }
}
