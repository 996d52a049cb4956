import { HmsError } from "@hms/kernel";
import type { BreachedPasswords } from "../ports.ts";

/**
 * Asks a list of breached passwords; while it cannot be used, nobody gets a new password: who runs the platform hears why,
 * and people that they have to wait. Without a list nothing is breached.
 */
export function createBreachCheck(
  list: BreachedPasswords | undefined,
  onFailure: (error: unknown) => void,
): BreachedPasswords {
  return {
    async includes(password) {
      try {
        return (await list?.includes(password)) ?? false;
      } catch (error) {
        onFailure(error);
        const message =
          "New passwords cannot be compared with those that have leaked at this moment, so none is taken. Tell who runs the platform: hms-sys doctor says what is wrong with the list.";
        throw new HmsError("FAILED_PRECONDITION", message, { reason: "BREACHED_PASSWORDS_UNUSABLE", cause: error });
      }
    },
  };
}
