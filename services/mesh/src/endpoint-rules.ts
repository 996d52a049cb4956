import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { networkOfAddress } from "@hms/kernel";
import { checkPort, type FieldReport } from "./field-report.ts";

const ID = /^[\x21-\x7e]{1,128}$/;
const HOST = /^[A-Za-z0-9.:_-]{1,253}$/;
const DEFAULT_WEIGHT = 1000;
const HIGHEST_WEIGHT = 1_000_000;
const MOST_ENDPOINTS = 10_000;

const byId = (a: mesh.Endpoint, b: mesh.Endpoint) => (a.endpointId < b.endpointId ? -1 : 1);

/** Whether a host is a special network's, however its digits are written; names are looked at when they are connected to. */
function isSpecial(host: string): boolean {
  const written = URL.parse(`http://${host.includes(":") ? `[${host}]` : host}/`)?.hostname ?? host;
  return networkOfAddress(written) === "special";
}

function checkEndpoint(endpoint: mesh.Endpoint, report: FieldReport): void {
  const { endpointId, host, port, state, weight = DEFAULT_WEIGHT, revision } = endpoint;
  if (!ID.test(endpointId)) report("endpoint_id", "is no id; use 1 to 128 visible ASCII characters.");
  if (!HOST.test(host)) report("host", `"${host.slice(0, 80)}" is no host; write an IP address or a host name.`);
  else if (isSpecial(host)) {
    report("host", `"${host}" leads where no service is (link-local, metadata or multicast); name the replica's own.`);
  }
  checkPort(port, (description) => report("port", description));
  if (state !== mesh.EndpointState.ACTIVE && state !== mesh.EndpointState.DRAINING) {
    report("state", "is missing; say ACTIVE or DRAINING.");
  }
  if (weight < 0 || weight > HIGHEST_WEIGHT) report("weight", `${weight} is no weight; use 0 to ${HIGHEST_WEIGHT}.`);
  if (revision < 0n) report("revision", `${revision} is no revision; revisions count from 1.`);
}

/** Endpoints in the order of their ids, each with its weight; reports ids given twice and impossible values. */
export function normalEndpoints(given: readonly mesh.Endpoint[], report: FieldReport): mesh.Endpoint[] {
  if (given.length > MOST_ENDPOINTS) report("service.endpoints", `has more than ${MOST_ENDPOINTS} endpoints.`);
  const seen = new Set<string>();
  for (const [index, endpoint] of given.entries()) {
    const at = `service.endpoints[${index}]`;
    checkEndpoint(endpoint, (field, description) => report(`${at}.${field}`, description));
    if (seen.has(endpoint.endpointId)) report(`${at}.endpoint_id`, `"${endpoint.endpointId}" is given twice.`);
    seen.add(endpoint.endpointId);
  }
  return given
    .map((endpoint) => create(mesh.EndpointSchema, { ...endpoint, weight: endpoint.weight ?? DEFAULT_WEIGHT }))
    .sort(byId);
}
