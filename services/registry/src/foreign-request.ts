import type { DescService } from "@bufbuild/protobuf";
import type { registry } from "@hms/contracts";
import { type ReflectedServer, serviceNameOf } from "@hms/descriptors";
import { type FieldViolation, HmsError, type Principal, principalName } from "@hms/kernel";
import { offerOf } from "./contract-offer.ts";
import { invalid } from "./errors.ts";
import type { ForeignServer } from "./foreign-store.ts";
import { foreignAddressProblem, reachProblem } from "./instance-address.ts";
import { labelViolations, type Registration } from "./register-request.ts";
import { environmentOf, environmentViolations, keyText, keyViolations } from "./service-key.ts";

const SERVICE_NAME = /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const VERSION = /^v[1-9][0-9]{0,5}$/;
const DEFAULT_VERSION = "v1";

/**
 * Reads which stock gRPC server is to be registered.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readForeign(request: registry.RegisterForeignRequest, principal: Principal): ForeignServer {
  const { address, services } = request;
  const environment = environmentOf(request);
  const defaultVersion = request.version || DEFAULT_VERSION;
  const violations: FieldViolation[] = [...environmentViolations(environment), ...labelViolations(request.metadata)];
  const problem = foreignAddressProblem(address) ?? reachProblem(address, principal);
  if (problem) violations.push({ field: "address", description: problem });
  if (!VERSION.test(defaultVersion)) {
    const description = `"${defaultVersion.slice(0, 80)}" is no version; write "v1", "v2", ….`;
    violations.push({ field: "version", description });
  }
  for (const [index, name] of services.entries()) {
    if (SERVICE_NAME.test(name) && name.length <= 300) continue;
    const description = `"${name.slice(0, 80)}" is no service; write its full name, "helloworld.Greeter".`;
    violations.push({ field: `services[${index}]`, description });
  }
  if (violations.length > 0) throw invalid("The server", violations);
  const metadata = { ...request.metadata };
  const registeredBy = principalName(principal);
  return { environment, address, services: [...services], defaultVersion, metadata, registeredBy };
}

function notRegistrable(address: string, reasons: readonly string[]): HmsError {
  const why = reasons.length > 0 ? reasons.join(" ") : "It offers no services.";
  const message = `Nothing of the server at ${address} can be registered. ${why}`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "NOTHING_TO_REGISTER" });
}

/** The services of a server by their packages. */
function byPackage({ files, services }: ReflectedServer): Map<string, DescService[]> {
  const packages = new Map<string, DescService[]>();
  for (const name of services) {
    const service = files.getService(name);
    const packageName = service?.file.proto.package ?? "";
    if (service) packages.set(packageName, [...(packages.get(packageName) ?? []), service]);
  }
  return packages;
}

/**
 * What is to be registered for a server: one instance of each package that has services.
 * @throws HmsError FAILED_PRECONDITION if that is none, or if two packages would be the same service.
 */
export function foreignRegistrations(
  server: ForeignServer,
  reflected: ReflectedServer,
  leaseMs: number,
): Registration[] {
  const registrations = new Map<string, Registration>();
  const reasons = reflected.undescribed.map(({ service, reason }) => `${service} is not described: ${reason}.`);
  for (const packageName of byPackage(reflected).keys()) {
    const key = { environment: server.environment, ...serviceNameOf(packageName, server.defaultVersion) };
    const violations = keyViolations(key);
    if (violations.length > 0) {
      reasons.push(
        ...violations.map(({ description }) => `The package "${packageName}" cannot be a service: ${description}`),
      );
      continue;
    }
    if (registrations.has(keyText(key))) {
      const advice = "Name one of them in services, or give the other a version.";
      throw notRegistrable(server.address, [`Two of its packages would be ${key.serviceId} ${key.version}. ${advice}`]);
    }
    registrations.set(keyText(key), {
      ...key,
      instanceId: server.address,
      address: server.address,
      alternativeAddresses: [],
      replica: "",
      metadata: server.metadata,
      contract: offerOf(reflected.files, packageName),
      leaseMs,
      registeredBy: server.registeredBy,
      mayReplace: false,
    });
  }
  if (registrations.size === 0) throw notRegistrable(server.address, reasons);
  return [...registrations.values()];
}
