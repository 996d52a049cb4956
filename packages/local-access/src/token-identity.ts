import { createHash, timingSafeEqual } from "node:crypto";
import { anonymous, HmsError, type IdentitySource, type Principal } from "@hms/kernel";

const digest = (token: string) => createHash("sha256").update(token).digest();

/**
 * Knows principals by token: those who can read a token file. Comparison takes the same time for every wrong token.
 * A token that nobody has is UNAUTHENTICATED; no token is anonymous.
 */
export function createTokenIdentity(tokens: Iterable<readonly [token: string, principal: Principal]>): IdentitySource {
  const known = [...tokens].map(([token, principal]) => ({ digest: digest(token), principal }));
  // Connections show the same token with every call: the last one that was right is remembered.
  let last: { token: string; principal: Principal } | undefined;
  return {
    authenticate({ token }) {
      if (token === undefined) return anonymous;
      if (last !== undefined && last.token === token) return last.principal;
      const shown = digest(token);
      let found: Principal | undefined;
      for (const candidate of known) if (timingSafeEqual(candidate.digest, shown)) found = candidate.principal;
      if (found === undefined) {
        throw new HmsError(
          "UNAUTHENTICATED",
          "The token is not known here. Read it again from the installation's config directory.",
        );
      }
      last = { token, principal: found };
      return found;
    },
  };
}
