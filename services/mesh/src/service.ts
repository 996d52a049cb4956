import { fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { type CallContext, implement, type ServiceRegistration } from "@hms/kernel";
import type { ConnectedNode, ConnectedNodes } from "./connected-nodes.ts";
import { noSuchEnvironment, notForYou, stillActive, unknownVersion } from "./errors.ts";
import type { NodeWaits } from "./node-waits.ts";
import {
  checkDrainRequest,
  checkEnvironment,
  checkNodeId,
  checkServiceKey,
  checkWaitRequest,
} from "./request-checks.ts";
import type { SensorNews } from "./sensor-news.ts";
import { contentOf } from "./snapshot-content.ts";
import { isKnown, type SnapshotFeed } from "./snapshot-feed.ts";
import { snapshotFor } from "./snapshot-variant.ts";
import { checkMeasures, checkTraffic } from "./traffic-checks.ts";
import { normalPicture } from "./traffic-picture.ts";
import type { TrafficSums } from "./traffic-sums.ts";
import type { TrafficWriter } from "./traffic-writer.ts";

/** What the handlers stand on. */
export interface MeshParts {
  writer: TrafficWriter;
  feed: SnapshotFeed;
  nodes: ConnectedNodes;
  waits: NodeWaits;
  sums: TrafficSums;
  /** What is published of what data planes sample; undefined: nothing. */
  news: SensorNews | undefined;
  /** Where programs without our names reach the mesh. */
  proxyPort: number;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
}

function nodeMessage({ nodeId, appliedVersion, reportedAt }: ConnectedNode) {
  const reported = reportedAt === undefined ? {} : { lastReportAt: timestampFromMs(reportedAt) };
  return { nodeId, appliedVersion, ...reported };
}

function activeAmong(snapshot: mesh.Snapshot, endpointIds: ReadonlySet<string>): string[] {
  const endpoints = contentOf(snapshot).services.flatMap((service) => service.endpoints);
  const active = endpoints.filter(({ state }) => state === mesh.EndpointState.ACTIVE);
  return active.map(({ endpointId }) => endpointId).filter((id) => endpointIds.has(id));
}

type Named = { readonly environment: string; readonly name: string };

/** Whether a caller may see the traffic of a service. */
function visibleTo(context: CallContext): (service: Named) => boolean {
  const filter = context.filter();
  return ({ environment, name }) => filter.allows({ environment, name });
}

/** A snapshot is sealed: who may not see a part of it gets none. */
function assertWhole(snapshot: mesh.Snapshot, isVisible: (service: Named) => boolean): void {
  if (!contentOf(snapshot).services.every(isVisible)) throw notForYou();
}

async function getSnapshot({ feed, nodes, untilEnd }: MeshParts, context: CallContext) {
  const snapshot = await feed.current(untilEnd(context));
  const content = fromBinary(mesh.SnapshotContentSchema, snapshot.content);
  content.services = content.services.filter(visibleTo(context));
  return { version: snapshot.version, content, nodes: nodes.list().map(nodeMessage) };
}

function getTraffic({ sums }: MeshParts, { environment, service: name }: mesh.GetTrafficRequest, context: CallContext) {
  if (name === "") checkEnvironment(environment);
  else checkServiceKey({ environment, name });
  const now = Date.now();
  const isVisible = visibleTo(context);
  const services = sums.list({ environment, name }, now);
  return {
    services: services.filter((one) => isVisible({ environment: one.environment, name: one.service })),
    measuredAt: timestampFromMs(now),
  };
}

async function reportNode(
  { feed, nodes, sums, news, untilEnd }: MeshParts,
  report: mesh.ReportNodeRequest,
  context: CallContext,
) {
  const { nodeId, appliedVersion, drainingInFlight, traffic, measures } = report;
  checkNodeId(nodeId);
  checkTraffic(traffic);
  checkMeasures(measures);
  sums.report(nodeId, traffic, Date.now());
  news?.report(report);
  const newest = await feed.current(untilEnd(context));
  const ours = appliedVersion <= newest.version ? appliedVersion : 0n;
  nodes.report(nodeId, { appliedVersion: ours, inFlight: { ...drainingInFlight } });
  return {};
}

async function setService(
  { writer }: MeshParts,
  { service, evenUnstored }: mesh.SetServiceRequest,
  context: CallContext,
) {
  const picture = normalPicture(service);
  const { snapshot, vip, unstored } = evenUnstored
    ? await writer.setEvenUnstored(picture, context)
    : { ...(await writer.setService(picture, context)), unstored: false };
  return { snapshotVersion: snapshot.version, vip, unstored };
}

/** The methods of hms.sys.mesh.v1 over their parts. */
export function meshRegistration(parts: MeshParts): ServiceRegistration {
  const { writer, feed, nodes, waits, sums, untilEnd } = parts;
  return implement(mesh.MeshService, {
    async *watchSnapshots({ nodeId, knownVersion, knownSha256, features, observer }, context) {
      checkNodeId(nodeId);
      const shape = (snapshot: mesh.Snapshot) => (observer ? snapshot : snapshotFor(snapshot, features));
      const signal = untilEnd(context);
      const known = { version: knownVersion, sha256: knownSha256 };
      const newest = await feed.current(signal);
      const isVisible = visibleTo(context);
      assertWhole(newest, isVisible);
      const applied = isKnown(shape(newest), known) ? knownVersion : 0n;
      const leave = observer ? () => {} : nodes.connect(nodeId, applied, signal);
      try {
        for await (const snapshot of feed.follow(known, signal, shape)) {
          assertWhole(snapshot, isVisible);
          yield { snapshot };
        }
      } finally {
        leave();
      }
    },

    reportNode: (report, context) => reportNode(parts, report, context),

    getSnapshot: (_, context) => getSnapshot(parts, context),

    async describeEnvironment({ environment: name }, context) {
      checkEnvironment(name);
      const known = environmentOf(feed.newest ?? (await feed.current(untilEnd(context))), name);
      // Who only looks takes none of the addresses that environments need.
      if (!known && !context.filter("mesh:write").allows({ name: "", environment: name, facts: {} })) {
        throw noSuchEnvironment(name);
      }
      const environment = known ?? environmentOf((await writer.ensureEnvironment(name, context)).snapshot, name);
      return { environment, proxyUrl: `http://${name}@127.0.0.1:${parts.proxyPort}` };
    },

    setService: (request, context) => setService(parts, request, context),

    async removeService({ environment, name }, context) {
      checkServiceKey({ environment, name });
      const { snapshot } = await writer.removeService({ environment, name }, context);
      return { snapshotVersion: snapshot.version };
    },

    async removeEnvironment({ environment }, context) {
      checkEnvironment(environment);
      const { snapshot } = await writer.removeEnvironment(environment, context);
      return { snapshotVersion: snapshot.version };
    },

    async awaitApplied({ snapshotVersion }, context) {
      const signal = untilEnd(context);
      const { version } = await feed.current(signal);
      if (snapshotVersion > version) throw unknownVersion(snapshotVersion, version);
      return { nodes: await waits.applied(snapshotVersion, signal) };
    },

    async awaitDrained(request, context) {
      const timeoutMs = checkDrainRequest(request);
      const signal = untilEnd(context);
      const newest = await feed.current(signal);
      const endpointIds = new Set(request.endpointIds);
      const active = activeAmong(newest, endpointIds);
      if (active.length > 0) throw stillActive(active);
      const wait = { version: newest.version, timeoutMs, signal };
      return { leftInFlight: await waits.drained(endpointIds, wait) };
    },

    async awaitWaiting(request, context) {
      const timeoutMs = checkWaitRequest(request);
      const isVisible = visibleTo(context);
      const seen = request.services.filter((one) => isVisible({ environment: one.environment, name: one.service }));
      return { waiting: await sums.waiting(seen, untilEnd(context), timeoutMs) };
    },

    getTraffic: (request, context) => getTraffic(parts, request, context),
  });
}

function environmentOf(snapshot: mesh.Snapshot, name: string): mesh.MeshEnvironment | undefined {
  return contentOf(snapshot).environments.find((environment) => environment.name === name);
}
