import { hash } from "node:crypto";
import type { LookupFunction } from "node:net";
import { outgoingTo } from "@hms/kernel";
import type { RedisClientType } from "@redis/client";

/** Redis answers in less than a millisecond; who waits longer for it than for the service has nothing of it. */
const PATIENCE_MS = 100;
/** After a failure it is left alone for this long. */
const PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 2000;

/** Asked for by each connection anew: what may be connected to changes. */
const lookup: LookupFunction = (name, options, done) =>
  outgoingTo(name, { by: "operator" }).lookup(name, options, done);

/** A script of Redis, by its text and its digest. */
export interface RedisScript {
  readonly text: string;
  readonly digest: string;
}

/** Makes a script ready to be asked for. */
export function redisScript(text: string): RedisScript {
  return { text, digest: hash("sha1", text) };
}

/** Under which key Redis keeps something; keys name callers and addresses, which are nobody's to read there. */
export function redisKey(kind: string, key: string): string {
  return `hms:${kind}:${hash("sha256", key, "base64url").slice(0, 22)}`;
}

/** The connection to Redis by which gateways count together. Who does not answer in time is left alone for a second. */
export class RedisLink implements AsyncDisposable {
  readonly #connecting: Promise<RedisClientType>;
  readonly #patienceMs: number;
  #client: RedisClientType | undefined;
  #pausedUntil = 0;
  #failure: unknown;

  /** Connects, and goes on trying; `url` is redis://… or rediss://…, and no answer is waited for longer than `patienceMs`. */
  constructor(url: string, { patienceMs = PATIENCE_MS } = {}) {
    this.#patienceMs = patienceMs;
    this.#connecting = this.#connect(url);
    // Told by `isUsed`.
    this.#connecting.catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Whether it can be asked now. */
  get isUsed(): boolean {
    return this.#client?.isReady === true && performance.now() >= this.#pausedUntil;
  }

  /** Runs a script; rejects if there is no answer in time, or Redis cannot be asked now. */
  async run(script: RedisScript, key: string, values: readonly (string | number)[]): Promise<unknown> {
    const client = this.#client;
    if (client === undefined || !this.isUsed) {
      throw new Error("Redis cannot be asked now", { cause: this.#failure });
    }
    const options = { keys: [key], arguments: values.map(String) };
    try {
      return await withinPatience(
        client.evalSha(script.digest, options).catch((error: Error) => {
          if (!error.message.startsWith("NOSCRIPT")) throw error;
          return client.eval(script.text, options);
        }),
        this.#patienceMs,
      );
    } catch (error) {
      this.#pausedUntil = performance.now() + PAUSE_MS;
      throw error;
    }
  }

  async #connect(url: string): Promise<RedisClientType> {
    const { createClient } = await import("@redis/client");
    outgoingTo(new URL(url).hostname, { by: "operator" });
    const client: RedisClientType = createClient({
      url,
      disableOfflineQueue: true,
      socket: {
        lookup,
        connectTimeout: 1000,
        reconnectStrategy: (tries) => Math.min(50 * 2 ** tries, LONGEST_PAUSE_MS),
      },
    });
    client.on("error", (error) => {
      this.#failure = error;
    });
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
