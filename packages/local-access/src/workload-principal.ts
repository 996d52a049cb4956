import type { Principal } from "@hms/kernel";

/** A deployed service. */
export interface Workload {
  environment: string;
  /** "payment-svc". */
  name: string;
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** True if environment and name are what deployed services can have. */
export function isWorkload({ environment, name }: { environment: unknown; name: unknown }): boolean {
  return typeof environment === "string" && typeof name === "string" && NAME.test(environment) && NAME.test(name);
}

/** A deployed service as the principal of its calls: service:default/payment-svc with the roles service and service:payment-svc. */
export function workloadPrincipal({ environment, name }: Workload): Principal {
  const roles = Object.freeze(["service", `service:${name}`]);
  return Object.freeze({ kind: "service", id: `${environment}/${name}`, roles, environment });
}
