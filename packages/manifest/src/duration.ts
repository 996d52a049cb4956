const UNITS = [
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

/** What a duration looks like, for editors: one amount with a unit, or several from the largest unit down. */
export const DURATION_PATTERN =
  "^(?:[0-9]{1,9}(?:\\.[0-9]{1,3})?(?:ms|s|m|h)|(?=[0-9])(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?(?:[0-9]{1,9}ms)?)$";

const SHAPE = new RegExp(DURATION_PATTERN);

/** Reads "500ms", "1.5s", "2m" or "1h30m" to whole milliseconds; undefined if the text is none of that. */
export function parseDuration(text: string): number | undefined {
  if (!SHAPE.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(ms|s|m|h)/g)) {
    const factor = UNITS.find(([name]) => name === unit)?.[1] ?? 0;
    total += Number(amount) * factor;
  }
  const rounded = Math.round(total);
  return Math.abs(total - rounded) < 1e-6 ? rounded : undefined;
}

/** Writes milliseconds as parseDuration reads them, in the fewest units: "1m30s", "0s". */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = "";
  for (const [unit, factor] of UNITS) {
    const amount = Math.floor(rest / factor);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * factor;
  }
  return text || "0s";
}
