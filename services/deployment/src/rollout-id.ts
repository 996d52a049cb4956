import { createHash, randomBytes } from "node:crypto";
import { HmsError, type Metadata } from "@hms/kernel";

/** The metadata by which a caller may repeat a request whose answer was lost: it names the rollout to be. */
const KEY = "x-hms-idempotency-key";

/** The id that a caller has chosen for the rollout to be; undefined if none. @throws HmsError INVALID_ARGUMENT */
export function askedId(metadata: Metadata): string | undefined {
  const key = metadata[KEY];
  if (key === undefined) return undefined;
  if (/^[a-z0-9]{8,32}$/.test(key)) return key;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `${KEY} must be 8 to 32 lower-case letters and digits, new for every rollout.`,
  );
}

/** A rollout of this id is somebody else's, or of something else: who asks by it learns nothing of that one. */
export function takenId(rolloutId: string): HmsError {
  return new HmsError("ALREADY_EXISTS", `The id ${rolloutId} is another rollout's. Choose a new ${KEY}.`, {
    reason: "ID_TAKEN",
  });
}

/**
 * What the ids of a rollout's replicas end in, so that they are never those of another rollout's: of the whole id, since callers
 * choose ids that end alike.
 */
export function replicaSuffix(rolloutId: string): string {
  return createHash("sha256").update(rolloutId).digest("hex").slice(0, 8);
}

/** Ordered by time. */
export function newRolloutId(): string {
  return `${Date.now().toString(36)}${randomBytes(3).toString("hex")}`;
}
