// The one progress bar: on stderr, with rate and time left, and only when somebody is looking (stderr is a terminal).

import { SingleBar } from 'cli-progress';
import { number } from './format.js';

export interface Progress {
  /** `total` changes the total where it has grown. */
  update(done: number, total?: number): void;
  stop(): void;
}

export interface ProgressOptions {
  /** Unit of the counts, "rows" by default. */
  unit?: string;
  /** No bar at all. */
  quiet?: boolean;
}

const REDRAW_MS = 100;
const SILENT: Progress = { update() {}, stop() {} };

/** Starts a bar of `total` units; with null, the total being unknown, only counts and rate are shown. */
export function progress(label: string, total: number | null, options: ProgressOptions = {}): Progress {
  if (options.quiet || !process.stderr.isTTY) return SILENT;
  const { unit = 'rows' } = options;
  const started = performance.now();
  const rate = (done: number) => number(Math.round(done / Math.max((performance.now() - started) / 1000, 0.001)));
  const known = total !== null;
  const bar = new SingleBar({
    stream: process.stderr,
    format: known
      ? `${label} {bar} {percentage}% {rate} ${unit}/s, {eta_formatted} left`
      : `${label} {done} {rate} ${unit}/s`,
    barCompleteChar: '#',
    barIncompleteChar: '.',
    fps: 1000 / REDRAW_MS,
    clearOnComplete: true,
  });
  bar.start(total ?? 1, 0, { rate: '0', done: '0' });
  return {
    update(done, grown) {
      if (known && grown !== undefined) bar.setTotal(grown);
      bar.update(known ? done : 0, { rate: rate(done), done: number(done) });
    },
    stop: () => bar.stop(),
  };
}
