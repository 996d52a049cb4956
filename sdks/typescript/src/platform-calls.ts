import { setTimeout as pause } from "node:timers/promises";
import { Backoff } from "@hms/directory";
import { FfiError } from "./errors.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
const PATIENCE_MS = 30_000;

/** How long a platform that is away is waited for. */
export interface Patience {
  /** Default 30 s. */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Pauses between attempts to reach a platform that is away. */
export function platformBackoff(): Backoff {
  return new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
}

/** Makes a call of the platform that may be made twice, again while the platform is away. @throws FfiError */
export async function callPatiently<T>(call: () => Promise<T>, { patienceMs, signal }: Patience = {}): Promise<T> {
  const until = performance.now() + (patienceMs ?? PATIENCE_MS);
  const backoff = platformBackoff();
  for (;;) {
    try {
      return await call();
    } catch (caught) {
      const error = FfiError.of(caught);
      const pauseMs = backoff.next();
      if (!isAway(error) || performance.now() + pauseMs >= until) throw error;
      await pause(pauseMs, undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}

/** Whether a stream has ended that may begin again: the platform went away, or its caller may do something else than before. */
export function mayBeginAgain(error: FfiError): boolean {
  return isAway(error) || (error.code === "UNAUTHENTICATED" && error.reason === "ACCESS_CHANGED");
}

/** Whether the platform could not be reached, or went before it had answered. */
export function isAway({ code }: FfiError): boolean {
  return code === "UNAVAILABLE";
}
