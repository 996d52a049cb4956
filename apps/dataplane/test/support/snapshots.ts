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

function entryOf({
  name,
  environment = "default",
  vip = "",
  ports = [],
  upstreams,
  draining = [],
  path,
  route = {},
}: TestService) {
  const endpoint = (port: number, state: mesh.EndpointState) => ({
    endpointId: `${name}-${port}`,
    host: "127.0.0.1",
    port,
    state,
    weight: 1000,
    revision: 1n,
  });
  return {
    environment,
    name,
    vip,
    ports,
    routes: path ? [{ path, methods: [], ...route }] : [],
    endpoints: [
      ...upstreams.map((port) => endpoint(port, mesh.EndpointState.ACTIVE)),
      ...draining.map((port) => endpoint(port, mesh.EndpointState.DRAINING)),
    ],
  };
}
