import { identityCredentials } from "@hms/contracts";
import {
  HmsError,
  type IdentitySource,
  implement,
  isWithinScopes,
  type Principal,
  type ServiceRegistration,
} from "@hms/kernel";
import type { Revocations } from "./revocations.ts";

const HEARTBEAT_MS = 2000;
/** What a key or token that is limited needs to have, to be good for routes of services. */
const CALLS_SERVICES = "services:call";

/** What credentials are judged with. */
export interface CredentialGround {
  /** Whoever comes in by the network is known by it. */
  readonly identity: IdentitySource;
  /** Whom the SPIFFE id of a verified certificate names; undefined: nobody who may come in. */
  readonly peer: (spiffeId: string) => Promise<Principal | undefined>;
  /** Whether a principal holds a permission by its roles, within what it has shown. */
  permits(principal: Principal, permission: string): boolean;
  readonly revocations: Revocations;
  /** Whether changes of accounts are heard; while they are not, nobody is told that nothing was missed. */
  readonly isInTouch: () => boolean;
}

/** Whom credentials stand for, by hms.identity.v1.CredentialService. */
export function createCredentialService(ground: CredentialGround): ServiceRegistration {
  const { identity, revocations, isInTouch } = ground;
  return implement(identityCredentials.CredentialService, {
    async identify({ token, peer, permission }) {
      const isByCertificate = token === "" && peer !== "";
      const principal = isByCertificate ? await ground.peer(peer) : await principalOf(identity, token);
      return principal === undefined ? { known: false } : described(principal, permission, ground);
    },

    async *watchRevoked(_, context) {
      // Heard from before the first message on: who got that has missed nothing since.
      const following = revocations.follow(context.signal, HEARTBEAT_MS);
      yield {};
      for await (const revoked of following) {
        if (revoked === "everybody") yield { everybody: true };
        else if (revoked !== undefined) yield { principals: [...revoked] };
        else if (isInTouch()) yield {};
      }
    },
  });
}

async function principalOf(identity: IdentitySource, token: string): Promise<Principal | undefined> {
  if (token === "") return undefined;
  try {
    const principal = await identity.authenticate({ transport: "network", token });
    // Parts of the platform have no business with services' routes.
    return principal.kind === "component" || principal.kind === "anonymous" ? undefined : principal;
  } catch (error) {
    if (HmsError.from(error).code === "UNAUTHENTICATED") return undefined;
    throw error;
  }
}

function described(principal: Principal, permission: string, { permits }: CredentialGround) {
  const { kind, id, roles = [], mfa = false, environment = "", endsAtMs = 0, authenticatedAtMs = 0 } = principal;
  const isPermitted = permission === "" || kind === "operator" || permits(principal, permission);
  return {
    known: true,
    kind,
    id,
    roles: [...roles],
    mfa,
    environment,
    permitted: isPermitted,
    callsServices: isWithinScopes(principal, CALLS_SERVICES),
    endsAtMs: BigInt(Math.floor(endsAtMs)),
    authenticatedAtMs: BigInt(Math.floor(authenticatedAtMs)),
  };
}
