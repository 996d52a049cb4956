type Release = () => unknown;

/**
 * What ECMAScript's AsyncDisposableStack is, as far as this package uses it; errors come out as there, but for the last
 * one only where several releases fail. Source: the proposal "Explicit Resource Management", §12.4.
 */
class OwnAsyncDisposableStack implements AsyncDisposable {
  #releases: Release[] = [];
  #disposed = false;

  use<T extends AsyncDisposable | Disposable | null | undefined>(value: T): T {
    this.#check();
    if (value === null || value === undefined) return value;
    const given = value as Partial<AsyncDisposable & Disposable>;
    const release = given[Symbol.asyncDispose] ?? given[Symbol.dispose];
    if (release === undefined) throw new TypeError("The value cannot be disposed of.");
    this.#releases.push(() => release.call(value));
    return value;
  }

  defer(release: Release): void {
    this.#check();
    this.#releases.push(release);
  }

  move(): OwnAsyncDisposableStack {
    this.#check();
    const moved = new OwnAsyncDisposableStack();
    moved.#releases = this.#releases;
    this.#releases = [];
    this.#disposed = true;
    return moved;
  }

  async disposeAsync(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const failures: unknown[] = [];
    for (const release of this.#releases.reverse()) {
      try {
        await release();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures.at(-1);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disposeAsync();
  }

  #check(): void {
    if (this.#disposed) throw new ReferenceError("The stack has been disposed of.");
  }
}

const native: unknown = Reflect.get(globalThis, "AsyncDisposableStack");

/** The runtime's own stack, or ours where it has none: Node before 24. */
export const asyncDisposableStack = (native ?? OwnAsyncDisposableStack) as typeof OwnAsyncDisposableStack;
