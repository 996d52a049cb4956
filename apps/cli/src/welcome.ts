import type { deployment } from "@hms/contracts";

/** What is ready to be used. */
export interface ReadyPlatform {
  gatewayPort: number;
  /** The chosen instance; undefined for the default one. */
  instance: string | undefined;
  services: readonly Pick<deployment.ServiceSummary, "name" | "urls">[];
}

/** The address of the gateway and of each service, one a line. */
export function addressLines({ gatewayPort, services }: ReadyPlatform): string[] {
  const urls = services.flatMap(({ name, urls }) => urls.map((url) => `${name}: ${url}`));
  return [`Gateway: http://localhost:${gatewayPort}`, ...urls];
}

/** Three commands to go on with: for the examples where they are deployed, else the first ones of any work. */
export function nextCommands({ gatewayPort, instance, services }: ReadyPlatform): string[] {
  const of = instance ? ` --instance ${instance}` : "";
  const has = (wanted: string) => services.some(({ name }) => name === wanted);
  if (has("payment-svc") && has("receipt-svc")) {
    return [
      `curl -X POST localhost:${gatewayPort}/pay -H 'content-type: application/json' -d '{"email":"a@b.c","amount":12}'`,
      `./hms-sys${of} services`,
      `./hms-sys${of} logs receipt-svc -f`,
    ];
  }
  return [`hms-sys${of} deploy FILE.hms.yml`, `hms-sys${of} services`, `hms-sys${of} doctor`];
}
