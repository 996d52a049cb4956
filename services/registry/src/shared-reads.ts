/**
 * Reads once for all who ask the same at the same time. Who asks while a reading is under way shares the next one, which
 * begins after he asked: nobody is answered with what was so before.
 */
export class SharedReads<T> {
  readonly #running = new Map<string, Promise<T>>();
  readonly #next = new Map<string, Promise<T>>();

  /** Reads, or shares the next reading of the same name. */
  read(name: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(name);
    if (running === undefined) return this.#start(name, work);
    const begin = () => {
      this.#next.delete(name);
      return this.#start(name, work);
    };
    const next = this.#next.get(name) ?? running.then(begin, begin);
    this.#next.set(name, next);
    return next;
  }

  #start(name: string, work: () => Promise<T>): Promise<T> {
    const running = work().finally(() => this.#running.delete(name));
    this.#running.set(name, running);
    return running;
  }
}
