import { type Credentials, HmsError, type IdentitySource, type Principal } from "@hms/kernel";

/** Strangers at once, and how many more each second. */
const BURST = 100;
const PER_SECOND = 2;

/**
 * Keeps callers whom nobody knows from filling the audit log, which every denial goes to: beyond a hundred at once and two
 * a second they are turned away without a record, RESOURCE_EXHAUSTED (TOO_MANY_DENIALS). Who is known never waits.
 * `now`: monotonic milliseconds; default the process's clock.
 */
export function limitStrangers(identity: IdentitySource, now: () => number = () => performance.now()): IdentitySource {
  let left = BURST;
  let filledAt = now();
  const admit = () => {
    const at = now();
    left = Math.min(BURST, left + ((at - filledAt) / 1000) * PER_SECOND);
    filledAt = at;
    if (left < 1) throw turnedAway();
    left -= 1;
  };
  const judged = (principal: Principal, { known }: Credentials): Principal => {
    if (principal.kind === "anonymous") admit();
    else known?.();
    return principal;
  };
  const denied = (error: unknown): never => {
    if (HmsError.from(error).code === "UNAUTHENTICATED") admit();
    throw error;
  };
  return {
    authenticate(credentials: Credentials) {
      try {
        const found = identity.authenticate(credentials);
        return found instanceof Promise
          ? found.then((principal) => judged(principal, credentials), denied)
          : judged(found, credentials);
      } catch (error) {
        return denied(error);
      }
    },
  };
}

function turnedAway(): HmsError {
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    "Too many callers without good credentials have come; try again in a second.",
    {
      reason: "TOO_MANY_DENIALS",
      retryAfterMs: 1000,
    },
  );
}
