// SHA-256 of an input: of what is read, or of a large file in another thread, which reads it too: hashing takes longer
// than parsing. On one core it would only be read twice.

import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** Files of at least so many bytes get a thread. */
const THREAD_BYTES = 64 << 20;

/** The hash of an input that is being read. */
export interface Digest {
  /** Adds bytes that were read. */
  update(bytes: Uint8Array): void;
  /** The digest of the whole input, which has been read to its end, in hexadecimal. */
  hex(): Promise<string>;
  close(): void;
}

/** The digest of a file of `size` bytes, or of another stream, whose size is null. */
export function digestOf(path: string, size: number | null): Digest {
  if (size !== null && size >= THREAD_BYTES && availableParallelism() > 1) return new ThreadDigest(path);
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: async () => hash.copy().digest('hex'), close() {} };
}

/** The whole of the other thread. */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { openSync, readSync } = require('node:fs');
  const hash = require('node:crypto').createHash('sha256');
  const file = openSync(workerData);
  const piece = Buffer.allocUnsafeSlow(1 << 20);
  for (let length = 1; length > 0;) hash.update(piece.subarray(0, (length = readSync(file, piece))));
  parentPort.postMessage(hash.digest('hex'));
`;

class ThreadDigest implements Digest {
  private readonly thread: Worker;
  private readonly text: Promise<string>;

  constructor(path: string) {
    this.thread = new Worker(THREAD, { eval: true, workerData: path });
    this.text = new Promise((resolve, reject) => this.thread.once('message', resolve).once('error', reject));
    this.text.catch(() => {}); // It is reported when it is asked for.
    // An input that is given up must not keep the program alive.
    this.thread.unref();
  }

  update(): void {}

  async hex(): Promise<string> {
    this.thread.ref();
    return this.text;
  }

  close(): void {
    void this.thread.terminate();
  }
}
