// How numbers are written for people: thousands separators, four significant digits for fractions, percentages with
// three. The same everywhere (tables, reports, messages), and the same on every machine: the locale is fixed.

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const FRACTION = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 4 });
/** By the number of decimals; never "-0.00". */
const FIXED = [0, 1, 2, 3].map(
  (digits) =>
    new Intl.NumberFormat('en-US', {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      signDisplay: 'negative',
    }),
);

/** 1234567 -> "1,234,567"; 12.345678 -> "12.35"; 1234.5 -> "1,235". */
export function number(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? WHOLE.format(value) : FRACTION.format(value);
}

/** 0.1234 -> "12.3%"; 0.01234 -> "1.23%"; 0.0001 -> "0.010%". `signed` writes the plus as well. */
export function percent(fraction: number, signed = false): string {
  const value = fraction * 100;
  const size = Math.abs(value);
  const digits = value === 0 || size >= 1000 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return `${signed && value > 0 ? '+' : ''}${FIXED[digits].format(value)}%`;
}

/** 85 -> "85 ns"; 1500 -> "1.5 µs"; up to seconds. */
export function nanoseconds(ns: number): string {
  return scaled(ns, 1000, ['ns', 'µs', 'ms', 's']);
}

/** 512 -> "512 B"; 3145728 -> "3 MiB". */
export function bytes(count: number): string {
  return scaled(count, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
}

function scaled(value: number, step: number, units: string[]): string {
  let unit = 0;
  while (Math.abs(value) >= step && unit < units.length - 1) {
    value /= step;
    unit++;
  }
  return `${number(value)} ${units[unit]}`;
}
