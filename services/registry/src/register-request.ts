import { durationMs } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { type FieldViolation, type Principal, principalName } from "@hms/kernel";
import { type ContractOffer, readOffer } from "./contract-offer.ts";
import { invalid } from "./errors.ts";
import { addressProblem, reachProblem } from "./instance-address.ts";
import { environmentOf, keyViolations, type ServiceKey } from "./service-key.ts";

const DEFAULT_LEASE_MS = 30_000;
const SHORTEST_LEASE_MS = 5000;
const LONGEST_LEASE_MS = 600_000;
const ID = /^[\x21-\x7e]{1,128}$/;
const REPLICA = /^[\x21-\x7e]{1,256}$/;
const MOST_ADDRESSES = 8;
const MOST_LABELS = 64;
const LABEL_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const LONGEST_LABEL = 1024;

/** One instance as it asks to be registered. */
export interface Registration extends ServiceKey {
  instanceId: string;
  address: string;
  alternativeAddresses: readonly string[];
  /** The replica that answers; empty if none has said so of itself. */
  replica: string;
  /** Empty keeps what is stored. */
  metadata: Readonly<Record<string, string>>;
  /** Undefined keeps what is stored. */
  contract: ContractOffer | undefined;
  leaseMs: number;
  /** The principal who asks, "user:anna". */
  registeredBy: string;
  /** True if the principal may take over what others have registered. */
  mayReplace: boolean;
}

/** What is wrong with labels. */
export function labelViolations(metadata: Readonly<Record<string, string>>): FieldViolation[] {
  const labels = Object.entries(metadata);
  const violations: FieldViolation[] = [];
  if (labels.length > MOST_LABELS) {
    violations.push({ field: "metadata", description: `has more than ${MOST_LABELS} labels; leave some out.` });
  }
  for (const [name, value] of labels) {
    if (!LABEL_NAME.test(name)) {
      const description = "is no label name; use 1 to 63 letters, digits and inner . _ / -.";
      violations.push({ field: `metadata[${JSON.stringify(name.slice(0, 80))}]`, description });
    } else if (value.length > LONGEST_LABEL) {
      violations.push({ field: `metadata["${name}"]`, description: `is longer than ${LONGEST_LABEL} characters.` });
    }
  }
  return violations;
}

/** A replica's id if the principal is the deployed service that it names, else "": which calls it gets is its own word. */
function ownReplica(replica: string, { kind, id }: Principal): string {
  return REPLICA.test(replica) && kind === "service" && replica.startsWith(`${id}/`) ? replica : "";
}

function checkInstance(
  { instanceId, address, alternativeAddresses, leaseMs }: Registration,
  principal: Principal,
): FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (!ID.test(instanceId)) {
    violations.push({ field: "instance_id", description: "is no id; use 1 to 128 visible ASCII characters." });
  }
  const addresses = [
    ["address", address],
    ...alternativeAddresses.map((one, index) => [`alternative_addresses[${index}]`, one]),
  ];
  for (const [field = "", one = ""] of addresses) {
    const problem = addressProblem(one) ?? reachProblem(one, principal);
    if (problem) violations.push({ field, description: problem });
  }
  if (alternativeAddresses.length > MOST_ADDRESSES) {
    violations.push({
      field: "alternative_addresses",
      description: `are more than ${MOST_ADDRESSES}; leave some out.`,
    });
  }
  if (leaseMs < SHORTEST_LEASE_MS || leaseMs > LONGEST_LEASE_MS) {
    violations.push({ field: "lease_duration", description: `${leaseMs} ms is no lease; use 5 s to 10 min.` });
  }
  return violations;
}

/** Whether a principal may take over, renew and remove what others have registered. */
export function mayReplaceOthers({ kind }: Principal): boolean {
  return kind === "operator";
}

/**
 * Reads a request to register, with its defaults.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readRegistration(request: registry.RegisterRequest, principal: Principal): Registration {
  const { serviceId, version, instanceId, address, leaseDuration } = request;
  const key = { environment: environmentOf(request), serviceId, version };
  const reading = readOffer(request, key);
  const registration: Registration = {
    ...key,
    instanceId,
    address,
    alternativeAddresses: [...request.alternativeAddresses],
    replica: ownReplica(request.replica, principal),
    metadata: { ...request.metadata },
    contract: "offer" in reading ? reading.offer : undefined,
    leaseMs: leaseDuration ? durationMs(leaseDuration) : DEFAULT_LEASE_MS,
    registeredBy: principalName(principal),
    mayReplace: mayReplaceOthers(principal),
  };
  const violations = [
    ...keyViolations(registration),
    ...checkInstance(registration, principal),
    ...labelViolations(registration.metadata),
    ...("violations" in reading ? reading.violations : []),
  ];
  if (violations.length > 0) throw invalid("The registration", violations);
  return registration;
}

/** How often an instance with this lease renews it: three times, so one that is lost is away within three intervals. */
export function renewIntervalMs(leaseMs: number): number {
  return Math.ceil(leaseMs / 3);
}
