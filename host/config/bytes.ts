// Sizes as people write them: a number of bytes, or text with a unit of 2^10, 2^20, 2^30 or 2^40.
import { z } from 'zod';

const UNITS = ['', 'K', 'M', 'G', 'T'];

/** A size; comes out as bytes. */
export const bytes = z
  .union([
    z.int().min(0),
    z
      .string()
      .regex(/^\d+[KMGT]?$/, { error: 'expected bytes, as a number or as text such as 256K or 1M', abort: true }),
  ])
  .transform((stated) => {
    const [, digits, unit] = /^(\d+)([KMGT]?)$/.exec(String(stated))!;
    return Number(digits) * 1024 ** UNITS.indexOf(unit);
  })
  .refine(Number.isSafeInteger, { error: 'expected fewer than 2^53 bytes' });
