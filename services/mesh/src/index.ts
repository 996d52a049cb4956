import type { CallContext, ServiceRegistration } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { ConnectedNodes } from "./connected-nodes.ts";
import { stopping } from "./errors.ts";
import { type NodeGraces, nodeGraces } from "./node-graces.ts";
import { NodeWaits } from "./node-waits.ts";
import { SensorNews, type SensorNewsOptions } from "./sensor-news.ts";
import { meshRegistration } from "./service.ts";
import { SnapshotFeed } from "./snapshot-feed.ts";
import { MeshStore, type MeshTables } from "./store.ts";
import { TrafficChanges } from "./traffic-changes.ts";
import { TrafficSums } from "./traffic-sums.ts";
import { TrafficWriter } from "./traffic-writer.ts";
import { UnstoredTraffic } from "./unstored-traffic.ts";

export type { MeshTables } from "./store.ts";

/** What a mesh service is made of. */
export interface MeshServiceOptions {
  /** The service's own schema, with the migrations of `meshMigrations` applied. */
  database: Pick<ServiceDatabase<MeshTables>, "transaction">;
  /** What this installation has taken on the machine. */
  network: {
    /** The first two octets of its loopback range, "127.88". */
    vipPrefix: string;
    /** The mesh proxy's port on 127.0.0.1. */
    proxyPort: number;
  };
  /** Where what data planes sample is published, and who hears that it cannot be; undefined: nowhere. */
  sensors?: SensorNewsOptions;
  /** The folder of what lets traffic change while the database is away; default: none, it does not then. */
  kept?: string;
  /** How long absent data planes are believed in. */
  graces?: Partial<NodeGraces>;
}

/** A mesh service, ready to be registered; disposing it ends its streams and waits with UNAVAILABLE. */
export interface MeshService extends AsyncDisposable {
  readonly registration: ServiceRegistration;
}

/** The folder of the mesh's migrations. */
export const meshMigrations = new URL("../migrations/", import.meta.url);

/**
 * Creates the mesh service. It answers at once: what it needs from PostgreSQL it waits for, so a server may start
 * before its database does.
 */
export function createMeshService({ database, network, kept, sensors, graces }: MeshServiceOptions): MeshService {
  const end = new AbortController();
  const feed = new SnapshotFeed();
  const patience = nodeGraces(graces);
  const nodes = new ConnectedNodes(patience);
  const unstored = kept === undefined ? undefined : new UnstoredTraffic(kept, feed);
  const published = () => feed.newest?.version ?? 0n;
  const changes = new TrafficChanges(new MeshStore(database), network.vipPrefix, { published, unstored });
  const writer = new TrafficWriter({ changes, feed, stopping: end.signal, unstored });
  const news = sensors && new SensorNews(sensors);
  const registration = meshRegistration({
    writer,
    feed,
    nodes,
    waits: new NodeWaits(nodes, patience),
    sums: new TrafficSums(),
    news,
    proxyPort: network.proxyPort,
    untilEnd: (context: CallContext) => AbortSignal.any([context.signal, end.signal]),
  });
  void writer.refresh();
  return {
    registration,
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await writer.settled();
      nodes[Symbol.dispose]();
      news?.[Symbol.dispose]();
    },
  };
}
