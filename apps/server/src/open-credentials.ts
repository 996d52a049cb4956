import type { ServiceRegistration } from "@hms/kernel";
import { createCredentialService, type IdentityService, Revocations } from "@hms/service-identity";
import type { ServerAccess } from "./open-access.ts";

/** Lets the gateway ask whom credentials stand for, and tells it at once when they stand for less. */
export function openCredentials(access: ServerAccess, service: IdentityService): ServiceRegistration {
  const { identity, accounts, takenAway } = access;
  const revocations = new Revocations();
  takenAway.follow((names) => revocations.tell(names));
  accounts.follow(() => revocations.tell("everybody"));
  return createCredentialService({
    identity,
    permits: (principal, permission) => accounts.permits(principal, permission),
    revocations,
    isInTouch: () => service.isInTouch,
  });
}
