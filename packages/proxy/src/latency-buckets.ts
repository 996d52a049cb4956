/** How many classes of response times are told apart. */
export const LATENCY_BUCKETS = 128;

const FASTEST_MS = 0.25;
const GROWTH = 1.1;
const SCALE = 1 / Math.log(GROWTH);

/**
 * The class of a response time: 0 below 0.25 ms, each further one up to a tenth slower, the last one all of 41 s and more.
 * Geometric classes, as in DDSketch (Masson et al. 2019): what is read back is off by 5 % at most.
 */
export function latencyBucket(elapsedMs: number): number {
  if (!(elapsedMs >= FASTEST_MS)) return 0;
  const position = 1 + Math.log(elapsedMs / FASTEST_MS) * SCALE;
  return position < LATENCY_BUCKETS ? position | 0 : LATENCY_BUCKETS - 1;
}

/** Up to which time a class goes, in milliseconds; the last one to infinity. */
export function latencyBoundMs(bucket: number): number {
  return bucket < LATENCY_BUCKETS - 1 ? FASTEST_MS * GROWTH ** bucket : Number.POSITIVE_INFINITY;
}

/**
 * The time in milliseconds that a share of all was not above, 0 to 1, within 5 % (between 0.25 ms and 41 s); NaN of
 * nothing. Takes counts by class, zeros at the end left out or not: those of two readings' difference as well.
 */
export function latencyQuantileMs(counts: ArrayLike<number>, share: number): number {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i] as number;
  if (total === 0) return Number.NaN;
  const rank = Math.max(share * total, 1);
  let bucket = 0;
  for (let seen = counts[0] as number; seen < rank && bucket < counts.length - 1; ) seen += counts[++bucket] as number;
  if (bucket === 0) return FASTEST_MS;
  // The geometric middle: as far, in parts, from the one end as from the other.
  return FASTEST_MS * GROWTH ** (bucket - 0.5);
}
