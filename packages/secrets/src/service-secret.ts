/** Names one version of a secret of services. */
export interface ServiceSecretVersion {
  readonly environment: string;
  readonly name: string;
  readonly version: number;
}

/** As whose secret a value is sealed: it opens as this version of this name in this environment only. */
export function serviceSecretContext({ environment, name, version }: ServiceSecretVersion): readonly string[] {
  return ["deployment", "secret", environment, name, String(version)];
}
