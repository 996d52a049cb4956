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

const ACCOUNT_KINDS: readonly string[] = ["user", "service"];

/**
 * Knows by a client's certificate at the gateway: deployed services as above, and accounts by login or id,
 * "spiffe://INSTALLATION/user/LOGIN" and "spiffe://INSTALLATION/service/LOGIN"; undefined for everybody else.
 */
export function certifiedPrincipals(
  installation: string,
  named: (kind: string, loginOrId: string) => Promise<Principal | undefined>,
): (spiffeId: string) => Promise<Principal | undefined> {
  const services = createPeerPrincipals(installation);
  return async (spiffeId) => {
    const [scheme, nothing, domain, kind = "", login = "", ...more] = spiffeId.split("/");
    const isOurs = scheme === "spiffe:" && nothing === "" && domain === installation;
    if (!isOurs || more.length > 0 || login === "" || !ACCOUNT_KINDS.includes(kind)) return services(spiffeId);
    return named(kind, login);
  };
}
