/** What one look of a gate found. */
export interface Look {
  readonly verdict: "pass" | "inconclusive" | "fail";
  /** What it saw: "HTTP 200", "0.2 % of 1,203 requests failed". */
  readonly words: string;
}
