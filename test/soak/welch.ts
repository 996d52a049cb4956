/** Takes one sample, in milliseconds; told how many were taken before. */
export type Sample = (n: number) => Promise<number>;

/** How far apart two kinds of samples are. */
export interface Difference {
  /** Welch's t of all of them. */
  readonly t: number;
  /** Welch's t without the slowest tenth, where other work of the machine shows. */
  readonly cropped: number;
  readonly means: readonly [number, number];
}

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function tOf(one: readonly number[], other: readonly number[]): number {
  const error = (values: readonly number[]) => {
    const mean = meanOf(values);
    return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1) / values.length;
  };
  return (meanOf(one) - meanOf(other)) / Math.sqrt(error(one) + error(other));
}

/** Compares two kinds of samples by Welch's t-test, which does not take their spreads for equal. */
export function welch(one: readonly number[], other: readonly number[]): Difference {
  const all = [...one, ...other].sort((a, b) => a - b);
  const limit = all[Math.floor(all.length * 0.9)] ?? Number.POSITIVE_INFINITY;
  const quick = (values: readonly number[]) => values.filter((value) => value <= limit);
  return { t: tOf(one, other), cropped: tOf(quick(one), quick(other)), means: [meanOf(one), meanOf(other)] };
}
