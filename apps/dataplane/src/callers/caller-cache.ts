import { hash } from "node:crypto";
import {
  type Caller,
  type CallerAnswer,
  type CallerMemo,
  type CallerQuestion,
  type CallerSource,
  type KnownCaller,
  knownCaller,
  RateLimiter,
} from "@hms/proxy";

/** What the server says of a token. */
export type Identified = { caller: Caller; endsAtMs: number } | undefined;

/** What the server is asked about. */
export interface Credentials {
  /** "": a certificate was shown. */
  readonly token: string;
  /** The SPIFFE id of the certificate, or "". */
  readonly peer: string;
  readonly permission: string;
}

/** What a cache asks, and how it tells the time. */
export interface CallerCacheOptions {
  /** Asks the server; undefined: the token is nobody's. Rejects if it cannot be asked. */
  readonly identify: (question: Credentials) => Promise<Identified>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Tokens that are remembered, of each permission asked for; default 20,000. */
  readonly mostRemembered?: number | undefined;
}

/** How long what the server said may be relied on. */
const REMEMBERED_MS = 60_000;
const UNKNOWN_REMEMBERED_MS = 2_000;
/** Without a word of what was revoked for this long, nothing may be changed on the strength of what is remembered. */
const SILENCE_MS = 10_000;
const MOST_REMEMBERED = 20_000;
/** Tokens that nobody has; they never push out those that somebody has. */
const MOST_UNKNOWN = 5_000;
const MOST_ASKED = 256;
/** Unknown tokens that one address may show: a burst, then some in each second. */
const GUESSES = { count: 10, periodMs: 1000, burst: 100 };

/** How questions about callers ended. */
export interface CallerCounts {
  remembered: number;
  asked: number;
  unknown: number;
  unavailable: number;
  throttled: number;
}

/**
 * Knows callers by what they show. The first use of a token costs a call of the server; what that said is remembered by
 * the token's SHA-256 for 60 s at most, and forgotten as soon as something of it is revoked. While nothing is heard of what is
 * revoked, for more than 10 s, requests that change something are refused; others go on for as long as they are remembered.
 */
export class CallerCache implements CallerSource {
  readonly counts: CallerCounts = { remembered: 0, asked: 0, unknown: 0, unavailable: 0, throttled: 0 };
  readonly #identify: CallerCacheOptions["identify"];
  readonly #now: () => number;
  readonly #most: number;
  /** One piece of memory for each, with what is answered: under load, each further one is a wait for the processor. */
  readonly #remembered = new Map<string, KnownCaller>();
  /** Until when tokens are known to be nobody's. */
  readonly #unknown = new Map<string, number>();
  readonly #ofPrincipal = new Map<string, Set<string>>();
  readonly #asking = new Map<string, Promise<CallerAnswer>>();
  readonly #guesses = new RateLimiter(GUESSES);
  readonly #followers: ((names?: readonly string[]) => void)[] = [];
  #heardAt: number;
  /** Counts what was revoked: an answer that was asked for before may be one of before. */
  #revocations = 0;

  constructor({ identify, now = Date.now, mostRemembered = MOST_REMEMBERED }: CallerCacheOptions) {
    this.#identify = identify;
    this.#most = mostRemembered;
    this.#now = now;
    this.#heardAt = now();
  }

  /** For how long nothing has been heard of what is revoked, in milliseconds. */
  get silentMs(): number {
    return this.#now() - this.#heardAt;
  }

  /** Whether requests that change something are refused, because what is revoked would not be heard of. */
  get isDeaf(): boolean {
    return this.silentMs > SILENCE_MS;
  }

  /** How many tokens are remembered. */
  get size(): number {
    return this.#remembered.size;
  }

  find(question: CallerQuestion): CallerAnswer | Promise<CallerAnswer> {
    const { token, certificate, permission, isSafe, address, memo } = question;
    if (!isSafe && this.isDeaf) return this.#unavailable(DEAF);
    const now = this.#now();
    if (memo?.known && certificate === undefined && isOf(memo, question) && memo.known.until > now) {
      this.counts.remembered++;
      return memo.known;
    }
    // A token has no space in it.
    const digest = hash(
      "sha256",
      certificate === undefined ? token : `certificate ${certificate.fingerprint}`,
      "base64",
    );
    const key = permission === "" ? digest : `${digest} ${permission}`;
    const peer = certificate?.uri ?? "";
    const found = this.#remembered.get(key);
    if (found !== undefined && found.until > now) {
      this.counts.remembered++;
      if (memo !== undefined && certificate === undefined) Object.assign(memo, { known: found, permission });
      return found;
    }
    if ((this.#unknown.get(key) ?? 0) > now) {
      this.counts.remembered++;
      return this.#guessed(UNKNOWN, address);
    }
    const asking = this.#asking.get(key) ?? this.#ask({ token, peer, permission }, { key, digest });
    return asking.then((answer) => (answer.kind === "unknown" ? this.#guessed(answer, address) : answer));
  }

  /** Something was heard: of these principals nothing holds any longer. */
  revoke(names: readonly string[]): void {
    this.#heardAt = this.#now();
    if (names.length === 0) return;
    this.#revocations++;
    // Whoever asks from now on gets no answer of before.
    this.#asking.clear();
    for (const name of names) for (const key of this.#ofPrincipal.get(name) ?? []) this.#forget(key);
    this.#tell(names);
  }

  /** Something was heard, or something may have been missed: nothing holds any longer. */
  revokeAll(): void {
    this.#heardAt = this.#now();
    this.#revocations++;
    // Connections may remember them, too.
    for (const remembered of this.#remembered.values()) remembered.until = 0;
    this.#asking.clear();
    this.#remembered.clear();
    this.#unknown.clear();
    this.#ofPrincipal.clear();
    this.#tell(undefined);
  }

  follow(changed: (names?: readonly string[]) => void): void {
    this.#followers.push(changed);
  }

  #tell(names: readonly string[] | undefined): void {
    for (const changed of this.#followers) changed(names);
  }

  #guessed(answer: CallerAnswer, address: string): CallerAnswer {
    const { isAllowed, retryAfterMs } = this.#guesses.take(address, this.#now());
    if (isAllowed) return answer;
    this.counts.throttled++;
    return { kind: "too-many", retryAfterS: Math.max(Math.ceil(retryAfterMs / 1000), 1) };
  }

  #unavailable(message: string): CallerAnswer {
    this.counts.unavailable++;
    return { kind: "unavailable", message };
  }

  #ask(question: Credentials, { key, digest }: { key: string; digest: string }): Promise<CallerAnswer> {
    if (this.#asking.size >= MOST_ASKED) return Promise.resolve(this.#unavailable(BUSY));
    this.counts.asked++;
    const revocations = this.#revocations;
    const asking = this.#identify(question)
      .then((identified) => this.#take(identified, { key, digest, isCurrent: revocations === this.#revocations }))
      .catch(() => this.#unavailable(AWAY))
      .finally(() => {
        if (this.#asking.get(key) === asking) this.#asking.delete(key);
      });
    this.#asking.set(key, asking);
    return asking;
  }

  #take(
    identified: Identified,
    { key, digest, isCurrent }: { key: string; digest: string; isCurrent: boolean },
  ): CallerAnswer {
    const now = this.#now();
    if (identified === undefined) {
      this.counts.unknown++;
      this.#noteUnknown(key, now + UNKNOWN_REMEMBERED_MS);
      return UNKNOWN;
    }
    const { caller, endsAtMs } = identified;
    const end = endsAtMs === 0 ? Number.POSITIVE_INFINITY : endsAtMs;
    const remembered = knownCaller(caller, digest, end);
    remembered.until = Math.min(now + REMEMBERED_MS, end);
    if (isCurrent) this.#remember(key, remembered);
    return remembered;
  }

  #remember(key: string, remembered: KnownCaller): void {
    this.#forget(key);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size < this.#most) break;
      this.#forget(oldest);
    }
    this.#remembered.set(key, remembered);
    const { name } = remembered.caller;
    const keys = this.#ofPrincipal.get(name) ?? new Set();
    this.#ofPrincipal.set(name, keys.add(key));
  }

  #noteUnknown(key: string, until: number): void {
    this.#unknown.delete(key);
    for (const oldest of this.#unknown.keys()) {
      if (this.#unknown.size < MOST_UNKNOWN) break;
      this.#unknown.delete(oldest);
    }
    this.#unknown.set(key, until);
  }

  #forget(key: string): void {
    const found = this.#remembered.get(key);
    if (found === undefined) return;
    found.until = 0;
    this.#remembered.delete(key);
    const { name } = found.caller;
    const keys = this.#ofPrincipal.get(name);
    keys?.delete(key);
    if (keys?.size === 0) this.#ofPrincipal.delete(name);
  }
}

const isOf = (memo: CallerMemo, { token, permission }: CallerQuestion) =>
  memo.token === token && memo.permission === permission;

const UNKNOWN: CallerAnswer = Object.freeze({ kind: "unknown" });
const DEAF =
  "The platform's server is not heard, so what was revoked would not be known: requests that change something are refused until it is back.";
const AWAY = "The platform's server is away, and whose credentials these are is not known here; try again in a second.";
const BUSY = "Too many callers are being looked up; try again in a second.";
