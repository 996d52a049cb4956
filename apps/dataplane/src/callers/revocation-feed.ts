import { setTimeout as delay } from "node:timers/promises";
import type { ServerLink } from "../snapshot/server-link.ts";
import type { CallerCache } from "./caller-cache.ts";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** The server says something every two seconds; a stream that is silent for longer may be a dead one. */
const SILENCE_MS = 6000;

/** Follows what the server revokes, for ever, trying again after 50 ms to 2 s. */
export class RevocationFeed {
  readonly #link: ServerLink;
  readonly #cache: CallerCache;
  readonly #end = new AbortController();

  constructor(link: ServerLink, cache: CallerCache) {
    this.#link = link;
    this.#cache = cache;
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#end;
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      if (await this.#watch()) pause = FIRST_PAUSE_MS;
      await delay(pause, undefined, { signal }).catch(() => {});
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** One watch, to its end; true if it brought something. */
  async #watch(): Promise<boolean> {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.#end.signal, silence.signal]);
    const timer = setTimeout(() => silence.abort(), SILENCE_MS).unref();
    let isOpen = false;
    try {
      for await (const { principals, everybody } of this.#link.credentials.watchRevoked({}, { signal })) {
        timer.refresh();
        // What was revoked before this watch began, nobody has told.
        if (everybody || !isOpen) this.#cache.revokeAll();
        else this.#cache.revoke(principals);
        isOpen = true;
      }
    } catch {
      // The server is away, or starts: it is asked again.
    }
    clearTimeout(timer);
    return isOpen;
  }

  /** Follows no more. */
  close(): void {
    this.#end.abort();
  }
}
