import { FfiError } from "./errors.ts";

/** The answers of a streaming call; leaving the loop early or closing it cancels the call. */
export class AnswerStream<T> implements AsyncIterable<T>, AsyncDisposable {
  readonly #open: (signal: AbortSignal) => AsyncIterable<T>;
  readonly #end = new AbortController();
  #begun: AsyncIterator<T> | undefined;

  constructor(open: (signal: AbortSignal) => AsyncIterable<T>, signal: AbortSignal | undefined) {
    this.#open = open;
    if (signal?.aborted) this.#end.abort(signal.reason);
    else signal?.addEventListener("abort", () => this.#end.abort(signal.reason), { signal: this.#end.signal });
  }

  /** @throws FfiError of the call, from the iteration */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    this.#begun ??= this.#open(this.#end.signal)[Symbol.asyncIterator]();
    const inner = this.#begun;
    return {
      next: () => inner.next().catch(failed),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  /** Cancels the call; nothing happens if it has ended. */
  async close(): Promise<void> {
    const ended = this.#begun?.return?.();
    this.#end.abort(new DOMException("The stream was closed.", "AbortError"));
    await ended?.catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function failed(error: unknown): never {
  throw FfiError.of(error);
}
