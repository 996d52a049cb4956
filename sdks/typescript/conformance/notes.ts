import type { CallContext } from "../src/index.ts";

/** What happened under each key, and which holds are released. */
export class Notes {
  readonly #events = new Map<string, string[]>();
  readonly #released = new Map<string, PromiseWithResolvers<void>>();
  readonly #calls = new Map<string, number>();
  /** What the callback of operations was told, by their ids. */
  readonly ended = new Map<string, object[]>();

  note(key: string, event: string): void {
    if (key !== "") this.#events.set(key, [...this.events(key), event]);
  }

  events(key: string): string[] {
    return this.#events.get(key) ?? [];
  }

  #hold(key: string): PromiseWithResolvers<void> {
    const hold = this.#released.get(key) ?? Promise.withResolvers<void>();
    this.#released.set(key, hold);
    return hold;
  }

  release(key: string): void {
    this.#hold(key).resolve();
  }

  async hold(key: string, { signal }: CallContext): Promise<void> {
    this.note(key, "held");
    const stopped = new Promise<never>((_, reject) => {
      const stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
    await Promise.race([this.#hold(key).promise, stopped]);
  }

  callNumber(key: string): number {
    const number = (this.#calls.get(key) ?? 0) + 1;
    this.#calls.set(key, number);
    return number;
  }
}
