// The functions that are used of packages without types.

declare module 'unbzip2-stream' {
  /** Works at once: what a write unpacks to has come out when it returns. */
  interface Unbzip2 {
    on(event: 'data', listener: (chunk: Uint8Array) => void): this;
    on(event: 'error', listener: (error: unknown) => void): this;
    write(chunk: Uint8Array): boolean;
    end(): void;
  }
  export default function unbzip2(): Unbzip2;
}

declare module 'snappyjs' {
  const snappy: {
    compress(bytes: Uint8Array): Uint8Array;
    /** Unpacks one block. Throws Error when it is damaged or longer than `limit` bytes. */
    uncompress(block: Uint8Array, limit: number): Uint8Array;
  };
  export default snappy;
}
