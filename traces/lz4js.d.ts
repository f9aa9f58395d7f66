// The functions of lz4js (pure JavaScript, no types of its own) that the codec uses.

declare module 'lz4js' {
  const lz4: {
    /** The bytes as an LZ4 frame. */
    compress(bytes: Uint8Array): Uint8Array;
    decompress(frame: Uint8Array): Uint8Array;
    /** Unpacks a frame into `into`, which must be large enough; the result is the number of bytes. */
    decompressFrame(frame: Uint8Array, into: Uint8Array): number;
  };
  export default lz4;
}
