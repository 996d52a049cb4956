/** Wakes everybody who waits for the next change; nobody waits without a signal that ends the wait. */
export class ChangeSignal {
  readonly #waiting = new Set<() => void>();

  /** Wakes all who wait now. */
  notify(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /**
   * True at the next change, false after `timeoutMs` without one (default: never).
   * @throws the signal's reason once it aborts.
   */
  next(signal: AbortSignal, timeoutMs?: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        this.#waiting.delete(wake);
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        act();
      };
      const wake = () => settle(() => resolve(true));
      const abort = () => settle(() => reject(signal.reason));
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => settle(() => resolve(false)), timeoutMs);
      if (signal.aborted) return abort();
      this.#waiting.add(wake);
      signal.addEventListener("abort", abort, { once: true });
    });
  }
}
