import type { InstancePaths } from "@hms/config";
import { mesh } from "@hms/contracts";
import { ChangeSignal, componentPrincipal, HmsError, implement, Kernel } from "@hms/kernel";
import { serveSocket } from "@hms/wire";
import { DATAPLANE_TOKEN } from "./installation.ts";

/** The server's side of the feed on its real socket, sending exactly what a test says, right or wrong. */
export interface SnapshotServer extends AsyncDisposable {
  /** Sends this one to every watch that does not know it, now and later. */
  send(snapshot: mesh.Snapshot): void;
  /** What data planes have reported, in the order of arrival. */
  readonly reports: readonly mesh.ReportNodeRequest[];
  /** What watches have said they know. */
  readonly watches: readonly mesh.WatchSnapshotsRequest[];
}

function unused(): never {
  throw new HmsError("UNIMPLEMENTED", "A data plane has no business here.");
}

/** Serves hms.sys.mesh.v1 on the installation's kernel socket. */
export async function startSnapshotServer(paths: InstancePaths, first?: mesh.Snapshot): Promise<SnapshotServer> {
  const changes = new ChangeSignal();
  const reports: mesh.ReportNodeRequest[] = [];
  const watches: mesh.WatchSnapshotsRequest[] = [];
  let current = first;
  const kernel = new Kernel({
    identity: {
      authenticate: ({ token }) => {
        if (token !== DATAPLANE_TOKEN) throw new HmsError("UNAUTHENTICATED", "Not the data plane's token.");
        return componentPrincipal("dataplane");
      },
    },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(
    implement(mesh.MeshService, {
      async *watchSnapshots(request, { signal }) {
        watches.push(request);
        let sent = { version: request.knownVersion, sha256: Buffer.from(request.knownSha256) };
        for (;;) {
          const next = current;
          if (next && (next.version !== sent.version || !sent.sha256.equals(next.sha256))) {
            sent = { version: next.version, sha256: Buffer.from(next.sha256) };
            yield { snapshot: next };
          } else {
            await changes.next(signal);
          }
        }
      },
      reportNode(request) {
        reports.push(request);
        return {};
      },
      getSnapshot: unused,
      describeEnvironment: unused,
      setService: unused,
      removeService: unused,
      removeEnvironment: unused,
      awaitApplied: unused,
      awaitDrained: unused,
      awaitWaiting: () => unused(),
      getTraffic: unused,
    }),
  );
  const socket = await serveSocket(kernel, { path: paths.kernelSocket, graceMs: 100 });
  return {
    reports,
    watches,
    send(snapshot) {
      current = snapshot;
      changes.notify();
    },
    [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
  };
}
