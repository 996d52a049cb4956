import { createHash } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";

/** What a test wants a service to look like. */
export interface TestService {
  name: string;
  environment?: string;
  vip?: string;
  ports?: number[];
  /** The ports of its replicas on 127.0.0.1. */
  upstreams: number[];
  draining?: number[];
  path?: string;
  /** What is demanded of its route. */
  route?: MessageInitShape<typeof mesh.RouteSchema>;
  split?: MessageInitShape<typeof mesh.TrafficSplitSchema>;
  /** Of the first of its replicas; each further one is of the next revision. Default: all are of revision 1. */
  firstRevision?: bigint;
}

type Environments = MessageInitShape<typeof mesh.MeshEnvironmentSchema>[];

/** A whole snapshot of these services, as the server would send it. */
export function snapshotOf(version: number, services: TestService[], environments: Environments = []): mesh.Snapshot {
  const content = toBinary(
    mesh.SnapshotContentSchema,
    create(mesh.SnapshotContentSchema, { environments, services: services.map(entryOf) }),
  );
  const sha256 = createHash("sha256").update(content).digest();
  return create(mesh.SnapshotSchema, { version: BigInt(version), content, sha256 });
}

function entryOf(service: TestService) {
  const { name, environment = "default", vip = "", ports = [], upstreams, draining = [], path, split } = service;
  const { firstRevision, route = {} } = service;
  const endpoint = (port: number, state: mesh.EndpointState, index = 0) => ({
    endpointId: `${name}-${port}`,
    host: "127.0.0.1",
    port,
    state,
    weight: 1000,
    revision: firstRevision === undefined ? 1n : firstRevision + BigInt(index),
  });
  return {
    environment,
    name,
    vip,
    ports,
    ...(split ? { split } : {}),
    routes: path ? [{ path, methods: [], ...route }] : [],
    endpoints: [
      ...upstreams.map((port, index) => endpoint(port, mesh.EndpointState.ACTIVE, index)),
      ...draining.map((port) => endpoint(port, mesh.EndpointState.DRAINING)),
    ],
  };
}
