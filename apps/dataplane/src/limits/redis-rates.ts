import { hash } from "node:crypto";
import type { RateTerms, RateVerdict, SharedRates } from "@hms/proxy";
import type { RedisClientType } from "@redis/client";

/** Redis answers in less than a millisecond; who waits longer for it than for the service has nothing of it. */
const PATIENCE_MS = 100;
/** After a failure it is left alone for this long. */
const PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 2000;

/** As `judgeArrival`, by the time of Redis itself: gateways' clocks need not agree. */
const SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = before + interval
local late = after - tolerance - now
if late > 0.001 then return {0, 0, tostring(before - now), tostring(late)} end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(math.ceil(after - now), 1))
return {1, math.floor((tolerance - (after - now)) / interval + 0.001), tostring(after - now), '0'}`;

/**
 * Counts rates in Redis, together with every other gateway that uses the same one. While it cannot be reached, or does not
 * answer within 100 ms, each gateway counts for itself; it is asked again a second later.
 */
export class RedisRates implements SharedRates, AsyncDisposable {
  readonly #connecting: Promise<RedisClientType>;
  readonly #digest = hash("sha1", SCRIPT);
  #client: RedisClientType | undefined;
  readonly #patienceMs: number;
  #pausedUntil = 0;
  /** Requests that were counted there, and those that could not be. */
  readonly counts = { shared: 0, alone: 0 };

  /** Connects, and goes on trying; `url` is redis://… or rediss://…, and no answer is waited for longer than `patienceMs`. */
  constructor(url: string, { patienceMs = PATIENCE_MS } = {}) {
    this.#patienceMs = patienceMs;
    this.#connecting = this.#connect(url);
    // Told by `problem`.
    this.#connecting.catch(() => {});
  }

  /** Why gateways count for themselves; undefined: they do not. */
  get problem(): string | undefined {
    const isUsed = this.#client?.isReady === true && performance.now() >= this.#pausedUntil;
    return isUsed ? undefined : "Redis does not answer: each gateway counts limits for itself until it does";
  }

  take(key: string, terms: RateTerms): Promise<RateVerdict> | undefined {
    if (this.#client?.isReady !== true || performance.now() < this.#pausedUntil) {
      this.counts.alone++;
      return undefined;
    }
    return this.#ask(this.#client, key, terms);
  }

  async #ask(client: RedisClientType, key: string, { count, periodMs, burst }: RateTerms): Promise<RateVerdict> {
    const interval = periodMs / count;
    // Keys name callers and addresses, which are nobody's to read there.
    const keys = [`hms:limit:${hash("sha256", key, "base64url").slice(0, 22)}`];
    const options = { keys, arguments: [String(interval), String(interval * burst)] };
    try {
      const answer = await withinPatience(
        client.evalSha(this.#digest, options).catch((error: Error) => {
          if (!error.message.startsWith("NOSCRIPT")) throw error;
          return client.eval(SCRIPT, options);
        }),
        this.#patienceMs,
      );
      this.counts.shared++;
      const [isAllowed, remaining, resetMs, retryAfterMs] = (answer as (string | number)[]).map(Number);
      return {
        isAllowed: isAllowed === 1,
        remaining: remaining ?? 0,
        resetMs: resetMs ?? 0,
        retryAfterMs: retryAfterMs ?? 0,
      };
    } catch (error) {
      this.#pausedUntil = performance.now() + PAUSE_MS;
      this.counts.alone++;
      throw error;
    }
  }

  async #connect(url: string): Promise<RedisClientType> {
    const { createClient } = await import("@redis/client");
    const client: RedisClientType = createClient({
      url,
      disableOfflineQueue: true,
      socket: { connectTimeout: 1000, reconnectStrategy: (tries) => Math.min(50 * 2 ** tries, LONGEST_PAUSE_MS) },
    });
    client.on("error", () => {});
    this.#client = client;
    await client.connect();
    return client;
  }

  /** Lets go of the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#client?.isOpen) this.#client.destroy();
    await this.#connecting.catch(() => {});
  }
}

async function withinPatience<T>(asking: Promise<T>, patienceMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("Redis did not answer in time")), patienceMs);
  try {
    return await Promise.race([asking, late.promise]);
  } finally {
    clearTimeout(timer);
    asking.catch(() => {});
  }
}
