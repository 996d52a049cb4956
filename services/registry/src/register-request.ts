import { durationMs } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { readContract } from "@hms/descriptors";
import type { FieldViolation } from "@hms/kernel";
import { invalid } from "./errors.ts";
import { environmentOf, keyViolations, type ServiceKey } from "./service-key.ts";

const DEFAULT_LEASE_MS = 30_000;
const SHORTEST_LEASE_MS = 5000;
const LONGEST_LEASE_MS = 600_000;
const ID = /^[\x21-\x7e]{1,128}$/;
const UNIX_ADDRESS = /^unix:(\/[\x21-\x7e]{1,106})$/;
const MOST_LABELS = 64;
const LABEL_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const LONGEST_LABEL = 1024;

/** One instance as it asks to be registered. */
export interface Registration extends ServiceKey {
  instanceId: string;
  address: string;
  /** Empty keeps what is stored. */
  metadata: Readonly<Record<string, string>>;
  /** Empty keeps what is stored. */
  fileDescriptorSet: Uint8Array;
  leaseMs: number;
}

function addressProblem(address: string): string | undefined {
  if (UNIX_ADDRESS.test(address)) return undefined;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.username === "" && url.search === "") return undefined;
  return `"${address.slice(0, 120)}" is no address; write "unix:/path/to.sock" or "http://127.0.0.1:20001".`;
}

function labelViolations(metadata: Readonly<Record<string, string>>): FieldViolation[] {
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

function checkInstance({ instanceId, address, leaseMs }: Registration): FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (!ID.test(instanceId)) {
    violations.push({ field: "instance_id", description: "is no id; use 1 to 128 visible ASCII characters." });
  }
  const problem = addressProblem(address);
  if (problem) violations.push({ field: "address", description: problem });
  if (leaseMs < SHORTEST_LEASE_MS || leaseMs > LONGEST_LEASE_MS) {
    violations.push({ field: "lease_duration", description: `${leaseMs} ms is no lease; use 5 s to 10 min.` });
  }
  return violations;
}

function contractViolations(bytes: Uint8Array, { serviceId, version }: ServiceKey): FieldViolation[] {
  const reading = readContract(bytes, `${serviceId}.${version}`);
  return "problem" in reading ? [{ field: "file_descriptor_set", description: reading.problem }] : [];
}

/**
 * Reads a request to register, with its defaults.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readRegistration(request: registry.RegisterRequest): Registration {
  const { serviceId, version, instanceId, address, fileDescriptorSet, leaseDuration } = request;
  const registration: Registration = {
    environment: environmentOf(request),
    serviceId,
    version,
    instanceId,
    address,
    metadata: { ...request.metadata },
    fileDescriptorSet,
    leaseMs: leaseDuration ? durationMs(leaseDuration) : DEFAULT_LEASE_MS,
  };
  const violations = [
    ...keyViolations(registration),
    ...checkInstance(registration),
    ...labelViolations(registration.metadata),
    ...(fileDescriptorSet.length > 0 ? contractViolations(fileDescriptorSet, registration) : []),
  ];
  if (violations.length > 0) throw invalid("The registration", violations);
  return registration;
}

/** How often an instance with this lease renews it: three times. */
export function renewIntervalMs(leaseMs: number): number {
  return Math.floor(leaseMs / 3);
}
