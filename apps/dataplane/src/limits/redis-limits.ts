import type { RateTerms, RateVerdict, SharedLimits, SharedPlace } from "@hms/proxy";
import { RedisLink, redisKey, redisScript } from "./redis-link.ts";
import { RedisPlaces } from "./redis-places.ts";

/** As `judgeArrival`, by the time of Redis itself: gateways' clocks need not agree. */
const ARRIVAL = redisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = before + interval
local late = after - tolerance - now
if late > 0.001 then return {0, 0, tostring(before - now), tostring(late)} end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(math.ceil(after - now), 1))
return {1, math.floor((tolerance - (after - now)) / interval + 0.001), tostring(after - now), '0'}`);

/** How limits are counted in Redis. */
export interface RedisLimitsOptions {
  /** No answer is waited for longer than this; default 100 ms. */
  readonly patienceMs?: number;
  /** A gateway that is not heard of for this long has no places any more; default 10 s. */
  readonly leaseMs?: number;
  /** How often a gateway says that its requests still run; default 3 s. */
  readonly renewEveryMs?: number;
}

/**
 * Counts rates and running requests in Redis, together with every other gateway that uses the same one. While it cannot be
 * reached, or does not answer within 100 ms, each gateway counts for itself; it is asked again a second later.
 */
export class RedisLimits implements SharedLimits, AsyncDisposable {
  readonly #link: RedisLink;
  readonly #places: RedisPlaces;
  /** Requests whose rate was counted there, and those that could not be. */
  readonly counts = { shared: 0, alone: 0 };

  /** Connects, and goes on trying; `url` is redis://… or rediss://…. */
  constructor(url: string, options: RedisLimitsOptions = {}) {
    this.#link = new RedisLink(url, options);
    this.#places = new RedisPlaces(this.#link, options);
  }

  /** Why gateways count for themselves; undefined: they do not. */
  get problem(): string | undefined {
    return this.#link.isUsed ? undefined : "Redis does not answer: each gateway counts limits for itself until it does";
  }

  take(key: string, terms: RateTerms): Promise<RateVerdict> | undefined {
    if (this.#link.isUsed) return this.#ask(key, terms);
    this.counts.alone++;
    return undefined;
  }

  begin(key: string, most: number): SharedPlace {
    return this.#places.begin(key, most);
  }

  async #ask(key: string, { count, periodMs, burst }: RateTerms): Promise<RateVerdict> {
    const interval = periodMs / count;
    try {
      const answer = await this.#link.run(ARRIVAL, redisKey("limit", key), [interval, interval * burst]);
      this.counts.shared++;
      const [isAllowed, remaining, resetMs, retryAfterMs] = (answer as (string | number)[]).map(Number);
      return {
        isAllowed: isAllowed === 1,
        remaining: remaining ?? 0,
        resetMs: resetMs ?? 0,
        retryAfterMs: retryAfterMs ?? 0,
      };
    } catch (error) {
      this.counts.alone++;
      throw error;
    }
  }

  /** Lets go of the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#places[Symbol.dispose]();
    await this.#link[Symbol.asyncDispose]();
  }
}
