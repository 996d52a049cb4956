import { createHash, timingSafeEqual } from "node:crypto";
import { anonymous, HmsError, type IdentitySource, type Principal } from "@hms/kernel";

const digest = (token: string) => createHash("sha256").update(token).digest();

/** Knows principals by token; asked with each call, so it answers quickly and with the same object. */
export interface TokenSource {
  /** Undefined if the token is nobody's. */
  principalOf(token: string): Principal | undefined;
}

/** Knows accounts by token; answers at once for tokens that it remembers. */
export interface AccountSource {
  /** Undefined if the token is nobody's. */
  principalOf(token: string): Principal | undefined | Promise<Principal | undefined>;
}

/** Whom an identity source knows beside those of its tokens. */
export interface TokenIdentityOptions {
  /** Asked in this order when a token is none of the given ones; default: nobody. */
  sources?: readonly TokenSource[];
  /** Asked when nobody else knows a token; default: nobody. */
  accounts?: AccountSource;
  /** Knows a caller without a token by its certificate's SPIFFE id; default: nobody does. */
  peers?: (spiffeId: string) => Principal | undefined;
}

/**
 * Knows principals by token: those who can read a token file, then those of other sources; without a token by
 * certificate. Comparison with the given tokens takes the same time for every wrong one. A token that nobody has is
 * UNAUTHENTICATED; neither token nor known certificate is anonymous.
 */
export function createTokenIdentity(
  tokens: Iterable<readonly [token: string, principal: Principal]>,
  { sources = [], accounts, peers = () => undefined }: TokenIdentityOptions = {},
): IdentitySource {
  const listed = [...tokens].map(([token, principal]) => ({ digest: digest(token), principal }));
  // Connections show the same token with every call: the last one that was right is remembered.
  let last: { token: string; principal: Principal } | undefined;
  const given = (token: string): Principal | undefined => {
    if (last !== undefined && last.token === token) return last.principal;
    const shown = digest(token);
    let found: Principal | undefined;
    for (const candidate of listed) if (timingSafeEqual(candidate.digest, shown)) found = candidate.principal;
    if (found !== undefined) last = { token, principal: found };
    return found;
  };
  const fromSources = (token: string): Principal | undefined => {
    for (const source of sources) {
      const found = source.principalOf(token);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    authenticate({ token, peer }) {
      if (token === undefined) return (peer === undefined ? undefined : peers(peer)) ?? anonymous;
      const found = given(token) ?? fromSources(token) ?? accounts?.principalOf(token);
      if (found instanceof Promise) return found.then(known);
      return found === undefined ? known(found) : found;
    },
  };
}

function known(principal: Principal | undefined): Principal {
  if (principal !== undefined) return principal;
  const message =
    "The token is not known here, or has ended. Sign in again (hms-sys login), or read it again from the installation's config directory.";
  throw new HmsError("UNAUTHENTICATED", message);
}
