/** Callers that each wait for their job to be taken on, as many as a busy server has. */
const CALLERS = 500;

/** Asks for so many jobs, by many callers at once; resolves when all have been taken on. */
export async function askFor(jobs: number, ask: () => Promise<unknown>): Promise<void> {
  let asked = 0;
  const caller = async () => {
    while (asked < jobs) {
      asked += 1;
      await ask();
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
}

/** Counts what was done, and says when it was so many. */
export class Count {
  #done = 0;
  #wanted = Number.POSITIVE_INFINITY;
  #reached = Promise.withResolvers<void>();

  add(): void {
    this.#done += 1;
    if (this.#done >= this.#wanted) this.#reached.resolve();
  }

  /** Resolves when so many more have been done. */
  next(wanted: number): Promise<void> {
    this.#done = 0;
    this.#wanted = wanted;
    this.#reached = Promise.withResolvers();
    return this.#reached.promise;
  }
}

/** Milliseconds that some work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}
