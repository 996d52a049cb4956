import type { FieldViolation } from "@hms/kernel";

/** What names one version of a service in its environment. */
export interface ServiceKey {
  environment: string;
  serviceId: string;
  version: string;
}

const DEFAULT_ENVIRONMENT = "default";
const SERVICE_ID = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$/;
const LONGEST_SERVICE_ID = 200;
const VERSION = /^v[1-9][0-9]{0,5}$/;
const ENVIRONMENT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** The environment that a request means; "default" if it says none. */
export function environmentOf({ environment }: { environment: string }): string {
  return environment || DEFAULT_ENVIRONMENT;
}

/** A key as text, for maps. */
export function keyText({ environment, serviceId, version }: ServiceKey): string {
  return `${environment}/${serviceId}/${version}`;
}

/** What is wrong with an environment's name. */
export function environmentViolations(environment: string): FieldViolation[] {
  if (ENVIRONMENT.test(environment)) return [];
  const description = `"${environment.slice(0, 80)}" is no environment; use 1 to 63 lower-case letters, digits and inner hyphens.`;
  return [{ field: "environment", description }];
}

/** What is wrong with a key. */
export function keyViolations({ environment, serviceId, version }: ServiceKey): FieldViolation[] {
  const violations = environmentViolations(environment);
  if (!SERVICE_ID.test(serviceId) || serviceId.length > LONGEST_SERVICE_ID) {
    const description = `"${serviceId.slice(0, 80)}" is no service id; write the contract's package without its version, "hms.cdf.debate".`;
    violations.push({ field: "service_id", description });
  }
  if (!VERSION.test(version)) {
    const description = `"${version.slice(0, 80)}" is no version; write "v1", "v2", ….`;
    violations.push({ field: "version", description });
  }
  return violations;
}
