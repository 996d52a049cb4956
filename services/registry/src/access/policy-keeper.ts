import { setTimeout as delay } from "node:timers/promises";
import { type AccessRule, type PolicyBook, takenAway } from "@hms/authorization";
import { ChangeSignal, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { notReadYet } from "../errors.ts";
import type { AccessStore, StoredRule } from "./access-store.ts";
import { type Revocations, revocationsOf } from "./revocations.ts";

function ofTheFile(id: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `The policy ${id} stands in the policy file. Change it there.`, {
    reason: "POLICY_IN_FILE",
    metadata: { policyId: id },
  });
}

/** How soon a change is found of which nobody has told. */
const LOOK_AGAIN_MS = 5_000;
const rulesOf = (stored: ReadonlyMap<string, StoredRule>) => [...stored.values()].map(({ rule }) => rule);

/** What a policy keeper stands on. */
export interface PolicyKeeperParts {
  book: PolicyBook;
  store: AccessStore;
  revocations: Revocations;
  /** Ends what is under way. */
  signal: AbortSignal;
}

/** A change waits this long for those before it. */
const TURN_PATIENCE_MS = 5000;

/** Changes stored policies: commits, puts them in force, then revokes what was issued before. */
export class PolicyKeeper {
  readonly #book: PolicyBook;
  readonly #store: AccessStore;
  readonly #revocations: Revocations;
  readonly #signal: AbortSignal;
  #stored: ReadonlyMap<string, StoredRule> | undefined;
  #changes = new ChangeSignal();
  #turn: Promise<unknown> = Promise.resolve();

  constructor({ book, store, revocations, signal }: PolicyKeeperParts) {
    this.#book = book;
    this.#store = store;
    this.#revocations = revocations;
    this.#signal = signal;
  }

  /** Reads the stored policies and puts them in force. */
  async load(): Promise<void> {
    this.#change(await this.#store.policies());
  }

  /** Puts in force what another process with this database has changed; it tells, or it is found within 5 s. */
  async followStore(): Promise<void> {
    const look = () => this.#inTurn(() => this.load()).catch(() => {});
    const until = { signal: this.#signal, deadlineMs: Number.POSITIVE_INFINITY };
    await using _hints = await retryWhileUnavailable(() => this.#store.onPolicies(look), until);
    while (!this.#signal.aborted) {
      await look();
      await delay(LOOK_AGAIN_MS, undefined, { signal: this.#signal }).catch(() => {});
    }
  }

  /** The stored policies, once they have been read, and again after each change. @throws the signal's reason */
  async *watch(signal: AbortSignal): AsyncGenerator<readonly StoredRule[]> {
    for (let told: unknown; ; ) {
      const stored = this.#stored;
      if (stored === told) {
        await this.#changes.next(signal);
        continue;
      }
      told = stored;
      yield [...(stored?.values() ?? [])];
    }
  }

  /** Revokes what the file takes away compared with what was in force last, under an earlier server it may be. */
  async followFile(): Promise<void> {
    const rules = this.#book.rulesOf("file");
    const before = await this.#store.fileRules();
    if (before !== undefined) this.#revocations.revoke(revocationsOf(takenAway(before, rules)));
    await this.#noteFile();
  }

  /** Revokes at once what a change of the file has taken away, given as patterns of service ids. */
  fileChanged(services: readonly string[]): void {
    this.#revocations.revoke(revocationsOf(services));
    const retry = { signal: this.#signal, deadlineMs: Number.POSITIVE_INFINITY };
    // Whoever does not get so far revokes it once more after the next start.
    const noted = this.#inTurn(() => retryWhileUnavailable(() => this.#noteFile(), retry), Number.POSITIVE_INFINITY);
    void noted.catch(() => {});
  }

  /** Once every revocation is stored: they would be forgotten otherwise. */
  async #noteFile(): Promise<void> {
    await this.#revocations.settled();
    await this.#store.putFileRules(this.#book.rulesOf("file"));
  }

  /** Since when a stored policy is as it is; undefined for those of the file. */
  changedAt(id: string): Date | undefined {
    return this.#stored?.get(id)?.changedAt;
  }

  /**
   * Adds or replaces a policy.
   * @throws HmsError FAILED_PRECONDITION if the id names a policy of the file, or expectations would not be met
   */
  put(rule: AccessRule): Promise<StoredRule> {
    return this.#inTurn(async () => {
      this.#refuseIfOfFile(rule.id);
      const next = new Map(this.#stored).set(rule.id, { rule, changedAt: new Date() });
      const stored = await this.#store.putPolicy(rule, this.#revocationsBy(next), () => this.#check(next));
      this.#change([...next.set(rule.id, stored).values()]);
      await this.#tellOthers();
      return stored;
    });
  }

  /**
   * Removes a policy.
   * @throws HmsError NOT_FOUND if there is none, FAILED_PRECONDITION if it stands in the file, or expectations of others
   * would not be met
   */
  delete(id: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseIfOfFile(id);
      const next = new Map(this.#stored);
      next.delete(id);
      if (!(await this.#store.deletePolicy(id, this.#revocationsBy(next), () => this.#check(next)))) {
        throw new HmsError("NOT_FOUND", `There is no policy ${id}. List them to see their ids.`, {
          reason: "POLICY_UNKNOWN",
        });
      }
      this.#change([...next.values()]);
      await this.#tellOthers();
    });
  }

  /** Who does not hear it finds the change by looking. */
  async #tellOthers(): Promise<void> {
    await this.#store.tellPolicies().catch(() => {});
  }

  /**
   * One change after the other, so that each sees what the one before made; after one that failed, once the database has
   * told what is there. Who has waited for that in vain is not carried out later, when nobody waits any more.
   */
  #inTurn<T>(work: () => Promise<T>, patienceMs = TURN_PATIENCE_MS): Promise<T> {
    const late = Promise.withResolvers<never>();
    let isLate = false;
    const giveUp = () => {
      isLate = true;
      late.reject(notReadYet());
    };
    const timer = Number.isFinite(patienceMs) ? setTimeout(giveUp, patienceMs) : undefined;
    const done = this.#turn.then(() => {
      clearTimeout(timer);
      if (isLate) throw notReadYet();
      return work();
    });
    this.#turn = done.catch(() => this.#readAgain());
    return Promise.race([done, late.promise]);
  }

  #refuseIfOfFile(id: string): void {
    if (this.#book.rulesOf("file").some((rule) => rule.id === id) || id.startsWith("file:")) throw ofTheFile(id);
  }

  #check(next: ReadonlyMap<string, StoredRule>): void {
    this.#book.check("stored", rulesOf(next));
  }

  /** Stored together with the change, so that a crash right after it revokes too. */
  #revocationsBy(next: ReadonlyMap<string, StoredRule>) {
    return revocationsOf(takenAway(rulesOf(this.#stored ?? new Map()), rulesOf(next)));
  }

  /** After a failure nobody knows whether the change was committed. */
  async #readAgain(): Promise<void> {
    const retry = { signal: this.#signal, deadlineMs: Number.POSITIVE_INFINITY };
    await retryWhileUnavailable(() => this.load(), retry).catch(() => {});
  }

  /** Puts policies in force, then revokes: what was issued until then is dated before. */
  #change(stored: readonly StoredRule[]): void {
    if (this.#stored !== undefined && isSame(this.#stored, stored)) return;
    this.#stored = new Map(stored.map((each) => [each.rule.id, each]));
    const rules = stored.map(({ rule }) => rule);
    this.#revocations.revoke(revocationsOf(this.#book.replace("stored", rules)));
    this.#changes.notify();
  }
}

function isSame(known: ReadonlyMap<string, StoredRule>, stored: readonly StoredRule[]): boolean {
  const isKnown = ({ rule, changedAt }: StoredRule) => known.get(rule.id)?.changedAt.getTime() === changedAt.getTime();
  return known.size === stored.length && stored.every(isKnown);
}
