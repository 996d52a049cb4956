import type { ServiceRegistration } from "@hms/kernel";
import { certifiedPrincipals } from "@hms/local-access";
import { createCredentialService, type IdentityService, Revocations } from "@hms/service-identity";
import type { ServerAccess } from "./open-access.ts";

/** Lets the gateway ask whom credentials stand for, and tells it at once when they stand for less. */
export function openCredentials(
  access: ServerAccess,
  service: IdentityService,
  installation: string,
): ServiceRegistration {
  const { identity, accounts, takenAway } = access;
  const revocations = new Revocations();
  takenAway.follow((names) => revocations.tell(names));
  accounts.follow(() => revocations.tell("everybody"));
  return createCredentialService({
    identity,
    peer: certifiedPrincipals(installation, (kind, loginOrId) => service.named(kind, loginOrId)),
    permits: (principal, permission) => accounts.permits(principal, permission),
    revocations,
    isInTouch: () => service.isInTouch,
  });
}
