// Ctrl-C: the first one asks the work to stop and lets it put things in order, the second one kills.

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Does the work with a signal that Ctrl-C aborts; tells which signal came, null when none did. */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<NodeJS.Signals | null> {
  const stop = new AbortController();
  let caught: NodeJS.Signals | null = null;
  const unlisten = () => SIGNALS.forEach((name) => process.off(name, listen));
  const listen = (name: NodeJS.Signals) => {
    caught = name;
    unlisten();
    stop.abort();
  };
  SIGNALS.forEach((name) => process.on(name, listen));
  try {
    await work(stop.signal);
  } finally {
    unlisten();
  }
  return caught;
}
