/** A service as the registry knows it. */
export interface ServiceName {
  /** The package without its version, "hms.cdf.debate". */
  readonly serviceId: string;
  /** "v1". */
  readonly version: string;
}

const VERSIONED = /^(.+)\.(v[1-9][0-9]*)$/;

/** The name under which a package is registered; packages that name no version get `defaultVersion`, "v1". */
export function serviceNameOf(packageName: string, defaultVersion = "v1"): ServiceName {
  const [, serviceId, version] = VERSIONED.exec(packageName) ?? [];
  if (serviceId === undefined || version === undefined) return { serviceId: packageName, version: defaultVersion };
  return { serviceId, version };
}
