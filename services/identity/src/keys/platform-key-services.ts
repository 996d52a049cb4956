import { identityPlatformKeys } from "@hms/contracts";
import { implement, type ServiceRegistration } from "@hms/kernel";
import type { PlatformKeys } from "../ports.ts";

/** Keys by which services and parts of the platform are known, by hms.identity.v1.WorkloadKeyService and DatabaseKeyService. */
export function createPlatformKeyServices(keys: PlatformKeys): ServiceRegistration[] {
  return [
    implement(identityPlatformKeys.WorkloadKeyService, {
      async replaceWorkloadKey() {
        return keys.replaceWorkloadKey();
      },
      async forgetOldWorkloadKeys({ force }) {
        return keys.forgetOldWorkloadKeys({ force });
      },
    }),
    implement(identityPlatformKeys.DatabaseKeyService, {
      async replaceDatabaseKey() {
        return { roles: await keys.replaceDatabaseKey() };
      },
    }),
  ];
}
