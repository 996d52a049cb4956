import type { Principal } from "@hms/kernel";
import { remembered } from "./remembered.ts";
import { isWorkload, workloadPrincipal } from "./workload-principal.ts";

/**
 * Knows deployed services of an installation by the SPIFFE id of their certificate,
 * "spiffe://INSTALLATION/env/ENVIRONMENT/svc/NAME"; undefined for everybody else.
 */
export function createPeerPrincipals(installation: string): (spiffeId: string) => Principal | undefined {
  return remembered((spiffeId) => {
    const [scheme, nothing, domain, env, environment = "", svc, name = "", ...more] = spiffeId.split("/");
    const isOurs = scheme === "spiffe:" && nothing === "" && domain === installation && more.length === 0;
    if (!isOurs || env !== "env" || svc !== "svc" || !isWorkload({ environment, name })) return undefined;
    return workloadPrincipal({ environment, name });
  });
}
