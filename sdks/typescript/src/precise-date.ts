const NANOS_PER_MS = 1_000_000;

/** A Date that also knows what a Timestamp has beyond milliseconds, so that handing it on loses nothing. */
class PreciseDate extends Date {
  /** From 0 to 999 999. */
  readonly nanosOfMillisecond: number;

  constructor(ms: number, nanosOfMillisecond: number) {
    super(ms);
    this.nanosOfMillisecond = nanosOfMillisecond;
  }
}

/** The moment of a Timestamp: a Date, or one that is more precise where the Timestamp is. */
export function dateOf(seconds: bigint | number, nanos: number): Date {
  const ms = Number(seconds) * 1_000 + Math.floor(nanos / NANOS_PER_MS);
  const rest = nanos % NANOS_PER_MS;
  return rest === 0 ? new Date(ms) : new PreciseDate(ms, rest);
}

/** The parts of a Timestamp. */
export function timestampOf(date: Date): { seconds: bigint; nanos: number } {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1_000);
  const rest = date instanceof PreciseDate ? date.nanosOfMillisecond : 0;
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1_000) * NANOS_PER_MS + rest };
}
