// xxHash, 32 bits, over bytes that come in pieces (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): the
// checksum of LZ4 frames.

import { word } from './packed.js';

const PRIME_1 = 0x9e37_79b1;
const PRIME_2 = 0x85eb_ca77;
const PRIME_3 = 0xc2b2_ae3d;
const PRIME_4 = 0x27d4_eb2f;
const PRIME_5 = 0x1656_67b1;
const STRIPE_BYTES = 16;

const rotl = (value: number, bits: number) => (value << bits) | (value >>> (32 - bits));
const round = (lane: number, value: number) => Math.imul(rotl(lane + Math.imul(value, PRIME_2), 13), PRIME_1);

/** The hash of what it was given so far, with seed 0. */
export class Xxh32 {
  private lanes = [PRIME_1 + PRIME_2, PRIME_2, 0, -PRIME_1].map((lane) => lane | 0);
  /** What does not fill a stripe yet. */
  private readonly rest = new Uint8Array(STRIPE_BYTES);
  private have = 0;
  private length = 0;

  update(bytes: Uint8Array): this {
    this.length += bytes.length;
    let at = 0;
    if (this.have > 0) {
      at = Math.min(STRIPE_BYTES - this.have, bytes.length);
      this.rest.set(bytes.subarray(0, at), this.have);
      this.have += at;
      if (this.have < STRIPE_BYTES) return this;
      this.stripes(this.rest, 0);
    }
    at = this.stripes(bytes, at);
    this.rest.set(bytes.subarray(at));
    this.have = bytes.length - at;
    return this;
  }

  digest(): number {
    const [a, b, c, d] = this.lanes;
    let hash = this.length < STRIPE_BYTES ? PRIME_5 : rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
    hash = (hash + this.length) | 0;
    let at = 0;
    for (; at + 4 <= this.have; at += 4) {
      hash = Math.imul(rotl(hash + Math.imul(word(this.rest, at), PRIME_3), 17), PRIME_4);
    }
    for (; at < this.have; at++) hash = Math.imul(rotl(hash + Math.imul(this.rest[at], PRIME_5), 11), PRIME_1);
    hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
    hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  /** Takes whole stripes from `at` on; returns where they end. */
  private stripes(bytes: Uint8Array, at: number): number {
    let [a, b, c, d] = this.lanes;
    for (; at + STRIPE_BYTES <= bytes.length; at += STRIPE_BYTES) {
      a = round(a, word(bytes, at));
      b = round(b, word(bytes, at + 4));
      c = round(c, word(bytes, at + 8));
      d = round(d, word(bytes, at + 12));
    }
    this.lanes = [a, b, c, d];
    return at;
  }
}
