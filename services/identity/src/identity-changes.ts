import type { IdentityDatabase } from "./identity-tables.ts";

const CHANNEL = "changed";
const BEAT = "beat";
/** Said by each process that opens: whoever it stands in for may have been killed before telling what it had changed. */
const BEGINS = "begins";
const BEAT_EVERY_MS = 3_000;
const SILENCE_MS = 10_000;

/** What has changed: an account (its id), roles, or signing keys; "everything" if news may have been missed. */
export type IdentityChange = { readonly account: string } | "roles" | "signing-keys" | "everything";

type Listener = (change: IdentityChange) => void;

/**
 * Tells every process of the identity service what has been taken away or given, within a second: its own at once,
 * others by PostgreSQL. Changes are told after the transaction that made them.
 */
export class IdentityChanges implements AsyncDisposable {
  readonly #database: IdentityDatabase;
  readonly #listeners = new Set<Listener>();
  readonly #stack = new AsyncDisposableStack();
  #heardAt = performance.now();

  private constructor(database: IdentityDatabase) {
    this.#database = database;
  }

  /** Opens them. @throws HmsError UNAVAILABLE if the database cannot be reached. */
  static async open(database: IdentityDatabase): Promise<IdentityChanges> {
    const changes = new IdentityChanges(database);
    changes.#stack.use(await database.listen(CHANNEL, (payload) => changes.#hear(payload)));
    await database.notify(CHANNEL, BEGINS).catch(() => {});
    const beat = setInterval(() => void database.notify(CHANNEL, BEAT).catch(() => {}), BEAT_EVERY_MS);
    beat.unref();
    changes.#stack.defer(() => clearInterval(beat));
    return changes;
  }

  /** False if nothing has been heard for 10 s, not even of itself: then nothing remembered can be relied on. */
  get inTouch(): boolean {
    return performance.now() - this.#heardAt < SILENCE_MS;
  }

  /** Calls `listener` with every change until it is disposed. */
  follow(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Calls `listener` with the id of every account that may do less than before, until it is disposed. */
  followAccounts(listener: (accountId: string) => void): Disposable {
    return this.follow((change) => typeof change === "object" && listener(change.account));
  }

  /** Tells everybody; this process has heard it when this returns. */
  async tell(...changes: readonly Exclude<IdentityChange, "everything">[]): Promise<void> {
    for (const change of changes) this.#pass(change);
    for (const change of changes) {
      // Who misses it asks the database again: for roles after 5 s, for the rest after 60 s at the latest.
      await this.#database.notify(CHANNEL, typeof change === "string" ? change : change.account).catch(() => {});
    }
  }

  #hear(payload: string | undefined): void {
    this.#heardAt = performance.now();
    if (payload === BEAT) return;
    if (payload === undefined || payload === BEGINS) this.#pass("everything");
    else if (payload === "roles" || payload === "signing-keys") this.#pass(payload);
    else this.#pass({ account: payload });
  }

  #pass(change: IdentityChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
