import { HmsError } from "@hms/kernel/errors";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Milliseconds of "90s", "10m", "1h30m".
 * @throws HmsError INVALID_ARGUMENT
 */
export function parseDuration(name: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${name} is "${text}", which is no time: write 500ms, 90s, 10m, 2h, 1h30m or 30d.`,
    );
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNITS[unit ?? ""] ?? 0), 0);
}

/**
 * A whole number within bounds.
 * @throws HmsError INVALID_ARGUMENT
 */
export function parseCount(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > 1_000_000) {
    throw new HmsError("INVALID_ARGUMENT", `${name} is "${text}": write a whole number from ${min} on.`);
  }
  return value;
}

/**
 * A point in time: "10m" ago, or an ISO 8601 time.
 * @throws HmsError INVALID_ARGUMENT
 */
export function parseSince(text: string, now = Date.now()): Date {
  if (/^\d{4}-/.test(text)) {
    const at = new Date(text);
    if (!Number.isNaN(at.getTime())) return at;
  }
  return new Date(now - parseDuration("--since", text));
}
