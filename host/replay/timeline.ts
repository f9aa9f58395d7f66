// A lane's simulation over its own time (docs/stage2faults.md, Over time): the core takes points by the clock, here they get the phase that they fall into.

import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { type TimelinePoint } from '../results/summary.js';

/** Whether a configuration has a timeline: with a random scheduler clocks mean nothing. */
export function hasTimeline({ system }: Config): boolean {
  return system.name === 'stage2-faults' && system.s2SampleUs > 0 && system.s2Seed === null;
}

export class Timeline {
  /** The clocks at which phases began or ended, with the phase from there on. */
  private readonly borders: { clock: bigint; phase: number | null }[] = [];

  constructor(
    private readonly core: Core,
    private readonly lane: Pointer,
    private readonly clockGHz: number,
  ) {}

  /** From now on rows belong to this phase. */
  enter(phase: number | null): void {
    this.borders.push({ clock: this.core.stage2Clock(this.lane), phase });
  }

  /** All points; after the end of the trace. */
  points(): TimelinePoint[] {
    const { Clock, DeferredBytes, TableBytes, Holding, Waiting, Faults, Count } = this.core.Point;
    const first = this.core.stage2Points(this.lane);
    return Array.from({ length: this.core.stage2PointCount(this.lane) }, (_, i) => {
      const point = new BigUint64Array(this.core.memory.buffer, first + i * Count * 8, Count);
      return {
        us: Number(point[Clock]) / (this.clockGHz * 1000),
        phase: this.borders.findLast(({ clock }) => clock <= point[Clock])?.phase ?? null,
        deferredBytes: Number(point[DeferredBytes]),
        tableBytes: Number(point[TableBytes]),
        holding: Number(point[Holding]),
        waiting: Number(point[Waiting]),
        faults: Number(point[Faults]),
      };
    });
  }
}
