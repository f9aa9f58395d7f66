// Finds where a captured kernel changes to another address space. Kernels are stripped of that symbol (switch_mm_irqs_off,
// cpu_do_switch_mm), and the write of the root register is not in a trace; but some code is fetched whenever the address
// space of a CPU changed between two of its user accesses, and hardly ever when it stayed the same. Such code lies together in
// the scheduler, and elsewhere (what a child does first, what waits for a child). The longest stretch is the scheduler's; of
// it the last address among those that are fetched least without a change: a few dozen rows after the write itself.

interface Fetched {
  /** The window in which it was fetched last, and the row. */
  window: number;
  at: number;
  /** Windows that ended in another address space, and in the same. */
  changed: number;
  same: number;
  /** The row of its last fetch before the last change. */
  beforeChange: number;
}

/** What one CPU fetched since its last user access that told the address space. */
interface CpuFetches {
  byAddress: Map<number, Fetched>;
  window: number;
  inWindow: Fetched[];
  /** The window spans something that was not recorded, as that before the first user access does. */
  gap: boolean;
}

/** Addresses that are fetched further apart belong to different stretches of code. */
const STRETCH_ROWS = 256;
/** The least share of the changes that it must explain, and the largest share of its windows without a change. */
const MIN_CHANGED = 0.95;
const MAX_SAME = 0.5;

export class SwitchPoint {
  private readonly cpus: CpuFetches[] = [];
  private changes = 0;

  /** A fetch in kernel mode; `low` is the low word of its address. */
  fetch(cpu: number, low: number, row: number): void {
    const state = this.cpu(cpu);
    let fetched = state.byAddress.get(low);
    if (!fetched) {
      fetched = { window: -1, at: row, changed: 0, same: 0, beforeChange: 0 };
      state.byAddress.set(low, fetched);
    }
    fetched.at = row;
    if (fetched.window === state.window) return;
    fetched.window = state.window;
    state.inWindow.push(fetched);
  }

  /** Recording was interrupted: what lies between the user accesses around this is incomplete. */
  gap(): void {
    for (const state of this.cpus) if (state) state.gap = true;
  }

  /** The CPU is known to run in another address space than before, or still in the same. */
  userAccess(cpu: number, changed: boolean): void {
    const state = this.cpu(cpu);
    if (!state.gap) {
      if (changed) this.changes++;
      for (const fetched of state.inWindow) {
        if (!changed) fetched.same++;
        else {
          fetched.changed++;
          fetched.beforeChange = fetched.at;
        }
      }
    }
    state.gap = false;
    state.inWindow.length = 0;
    state.window++;
  }

  /** The low word of the address; null when nothing qualifies. */
  find(): number | null {
    const total = new Map<number, { changed: number; same: number; beforeChange: number }>();
    for (const state of this.cpus) {
      for (const [low, { changed, same, beforeChange }] of state?.byAddress ?? []) {
        const sum = total.get(low) ?? { changed: 0, same: 0, beforeChange: 0 };
        sum.changed += changed;
        sum.same += same;
        sum.beforeChange = Math.max(sum.beforeChange, beforeChange);
        total.set(low, sum);
      }
    }
    const wanted = [...total]
      .map(([low, counts]) => ({ low, ...counts }))
      .filter(
        ({ changed, same }) =>
          changed > 0 && changed >= MIN_CHANGED * this.changes && same <= MAX_SAME * (same + changed),
      )
      .sort((a, b) => a.beforeChange - b.beforeChange);
    const stretches: (typeof wanted)[] = [];
    for (const candidate of wanted) {
      const last = stretches.at(-1);
      if (last && candidate.beforeChange - last.at(-1)!.beforeChange <= STRETCH_ROWS) last.push(candidate);
      else stretches.push([candidate]);
    }
    if (stretches.length === 0) return null;
    const scheduler = stretches.reduce((longest, next) => (next.length > longest.length ? next : longest));
    const least = Math.min(...scheduler.map(({ same }) => same));
    return scheduler.findLast(({ same }) => same === least)!.low;
  }

  private cpu(cpu: number): CpuFetches {
    return (this.cpus[cpu] ??= { byAddress: new Map(), window: 0, inWindow: [], gap: true });
  }
}
