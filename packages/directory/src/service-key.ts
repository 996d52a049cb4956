/** What names one version of a service in its environment. */
export interface ServiceKey {
  readonly environment: string;
  /** The contract's package without its version, "hms.cdf.debate". */
  readonly serviceId: string;
  /** "v1". */
  readonly version: string;
}

/** A package with a version at its end; others count as version 1 of themselves, as the registry has it. */
const VERSIONED = /^(.+)\.(v[1-9][0-9]{0,5})$/;

/** A key as text, for maps. */
export function keyText({ environment, serviceId, version }: ServiceKey): string {
  return `${environment}/${serviceId}/${version}`;
}

/** The service that a contract name ("hms.cdf.debate.v1.DebateService") belongs to. */
export function keyOfContract(typeName: string, environment: string): ServiceKey {
  const packageName = typeName.slice(0, Math.max(0, typeName.lastIndexOf(".")));
  const [, serviceId = packageName, version = "v1"] = VERSIONED.exec(packageName) ?? [];
  return { environment, serviceId, version };
}

/** The package of a service's contract. */
export function packageOf({ serviceId, version }: ServiceKey): string {
  return `${serviceId}.${version}`;
}
