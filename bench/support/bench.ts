/** How a bench is asked to run. */
export interface BenchOptions {
  /** Ends within 50 s, with less certain figures. */
  quick: boolean;
}

/** What a bench found out. */
export interface BenchResult {
  /** Absolute figures, ours and the rivals'; the unit is in the key. */
  figures: Record<string, number>;
  /** Ours divided by a rival's: `<metric>_vs_<rival>`. */
  ratios: Record<string, number>;
  /** What was measured, and why a rival is missing. */
  versions: Record<string, string>;
}

/** What a file of this folder exports as `run`. */
export type Bench = (options: BenchOptions) => Promise<BenchResult>;
