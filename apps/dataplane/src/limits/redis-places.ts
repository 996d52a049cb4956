import { randomBytes } from "node:crypto";
import type { SharedPlace } from "@hms/proxy";
import { type RedisLink, redisKey, redisScript } from "./redis-link.ts";

/** A place whose gateway has not been heard of for this long is free again. */
const LEASE_MS = 10_000;
const RENEW_EVERY_MS = 3000;
/** Redis serves nobody else while it runs a script. */
const MOST_AT_ONCE = 500;

/** Places are members of a sorted set by the end of their lease, by the time of Redis itself. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

const BEGIN = redisScript(`${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`);

const RENEW = redisScript(`${NOW}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`);

const END = redisScript("return redis.call('ZREM', KEYS[1], ARGV[1])");

/**
 * The places of requests that run, counted together with every other gateway of one Redis. Each is leased: a gateway renews
 * those of its requests every 3 s, and those of one that died are free after 10 s. What runs while Redis is away, or was there
 * before it began anew, is put on record with the next renewal, even beyond the limit: it runs.
 */
export class RedisPlaces implements Disposable {
  readonly #link: RedisLink;
  readonly #leaseMs: number;
  /** No other gateway's places have names like ours. */
  readonly #name = randomBytes(9).toString("base64url");
  readonly #running = new Map<string, Set<string>>();
  readonly #renewing: NodeJS.Timeout;
  #count = 0;

  constructor(link: RedisLink, { leaseMs = LEASE_MS, renewEveryMs = RENEW_EVERY_MS } = {}) {
    this.#link = link;
    this.#leaseMs = leaseMs;
    this.#renewing = setInterval(() => void this.#renew(), renewEveryMs).unref();
  }

  /** Takes a place of a limit, unless `most` are taken; the gateway counts its own besides. */
  begin(limit: string, most: number): SharedPlace {
    const key = redisKey("places", limit);
    this.#count += 1;
    const member = `${this.#name}.${this.#count.toString(36)}`;
    const granted = this.#link.isUsed ? this.#ask(key, member, most) : true;
    if (granted === true) this.#note(key, member);
    return { granted, end: () => void this.#end(key, member, granted) };
  }

  async #ask(key: string, member: string, most: number): Promise<boolean> {
    try {
      if ((await this.#link.run(BEGIN, key, [most, this.#leaseMs, member])) !== 1) return false;
    } catch {
      // The gateway's own count has let it in; it is put on record when Redis answers.
    }
    this.#note(key, member);
    return true;
  }

  async #end(key: string, member: string, granted: true | Promise<boolean>): Promise<void> {
    // After its answer: a late one would put it on record again.
    await granted;
    if (!this.#forget(key, member) || !this.#link.isUsed) return;
    // Who cannot be told finds its lease over.
    await this.#link.run(END, key, [member]).catch(() => {});
  }

  #note(key: string, member: string): void {
    const members = this.#running.get(key);
    if (members === undefined) this.#running.set(key, new Set([member]));
    else members.add(member);
  }

  #forget(key: string, member: string): boolean {
    const members = this.#running.get(key);
    const wasThere = members?.delete(member) ?? false;
    if (members?.size === 0) this.#running.delete(key);
    return wasThere;
  }

  async #renew(): Promise<void> {
    for (const [key, members] of this.#running) {
      const all = [...members];
      for (let from = 0; from < all.length; from += MOST_AT_ONCE) {
        if (!this.#link.isUsed) return;
        // What has ended meanwhile is not put on record again: nothing is waited for between here and the question.
        const some = all.slice(from, from + MOST_AT_ONCE).filter((member) => members.has(member));
        await this.#link.run(RENEW, key, [this.#leaseMs, ...some]).catch(() => {});
      }
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#renewing);
  }
}
