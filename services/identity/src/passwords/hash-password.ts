import { availableParallelism } from "node:os";
import { HmsError } from "@hms/kernel";

/** argon2id with OWASP's first recommended cost: 19 MiB, 2 passes, 1 lane. */
const COST = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/**
 * Hashes at once: each takes 19 MiB and a thread of the pool that file access also needs. One processor is left to the event
 * loop, which everybody waits for.
 */
const AT_ONCE = Math.max(1, Math.min(2, availableParallelism() - 1));
const MOST_WAITING = 64;

let running = 0;
const waiting: (() => void)[] = [];

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (waiting.length >= MOST_WAITING) {
      const message = "Too many people sign in at this moment; try again in a few seconds.";
      throw new HmsError("RESOURCE_EXHAUSTED", message, { reason: "SIGN_IN_BUSY", retryAfterMs: 3000 });
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

// Loaded when the first password is hashed: most starts of the platform never need it.
const library = () => import("@node-rs/argon2");

/**
 * Hashes a password, off the event loop.
 * @throws HmsError RESOURCE_EXHAUSTED if 64 others wait already.
 */
export async function hashPassword(password: string): Promise<string> {
  const { hash } = await library();
  return turn(() => hash(Buffer.from(password), COST));
}

/** Whether a password, compared exactly as it was received, is the hashed one. @throws HmsError as hashPassword. */
export async function verifyPassword(hashed: string, password: string): Promise<boolean> {
  const { verify } = await library();
  return turn(() => verify(hashed, Buffer.from(password)));
}

let dummy: Promise<string> | undefined;

/** Takes the time that `verifyPassword` takes, for names that nobody has. */
export async function verifyNobody(password: string): Promise<false> {
  dummy ??= hashPassword("nobody's password");
  await verifyPassword(await dummy, password);
  return false;
}

/** Whether a hash was made at another cost than today's, and should be made again when the password is known. */
export function isOutdated(hashed: string): boolean {
  return !hashed.startsWith(`$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=${COST.parallelism}$`);
}
