/** The highest number that was named within the last so many milliseconds. */
export class RecommendationWindow {
  readonly #lengthMs: number;
  readonly #named: { atMs: number; replicas: number }[] = [];

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  /** Takes a number and answers with the highest of the window, which includes it. */
  highest(atMs: number, replicas: number): number {
    // One that is not higher than a later one is never the highest again.
    while ((this.#named.at(-1)?.replicas ?? Number.POSITIVE_INFINITY) <= replicas) this.#named.pop();
    this.#named.push({ atMs, replicas });
    while ((this.#named[0]?.atMs ?? atMs) < atMs - this.#lengthMs) this.#named.shift();
    return this.#named[0]?.replicas ?? replicas;
  }
}
