const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** A run that lasted this long ends a series of failures. */
export const STABLE_AFTER_MS = 60_000;

/** How long to wait after the n-th failure in a row: 0.5 s doubling to 30 s, up to a quarter more or less at random. */
export function backOffMs(failures: number, random: () => number = Math.random): number {
  const base = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, Math.min(failures, 20) - 1));
  return Math.round(base * (0.75 + random() * 0.5));
}
