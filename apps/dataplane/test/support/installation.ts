import { existsSync, writeFileSync } from "node:fs";
import { type InstanceNetwork, type InstancePaths, writeNetwork } from "@hms/config";
import { freePort, tempInstance } from "@hms/testkit";
import { SnapshotStore } from "../../src/snapshot/snapshot-store.ts";

/** What a data plane shows to the server. */
export const DATAPLANE_TOKEN = "d".repeat(64);

/** An installation without server, agent or database, for data planes to serve. */
export interface Installation extends AsyncDisposable {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** What the data plane's environment must hold. */
  env: NodeJS.ProcessEnv;
  /** Where the first and second environment ask for names. */
  dns: [string, string];
  /** The n-th service's address. */
  vip(n: number): string;
  store: SnapshotStore;
}

let prefixes = 100 + (process.pid % 100);

/** Makes one, on ports and loopback addresses of its own. */
export async function openInstallation(owner?: { uid: number; gid: number }): Promise<Installation> {
  const instance = tempInstance(owner ? { owner } : {});
  const { paths, root } = instance;
  const [gatewayPort, tlsPort, proxyPort, metricsPort] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  prefixes += 1;
  const vipPrefix = `127.${prefixes}`;
  const network = { gatewayPort, tlsPort, proxyPort, metricsPort, vipPrefix, replicaPortBase: 20_000 };
  writeNetwork(paths, network);
  writeFileSync(paths.dataplaneToken, `${DATAPLANE_TOKEN}\n`, { mode: 0o644 });
  return {
    paths,
    network,
    env: {
      ...surroundings(),
      HMS_INSTANCE: paths.instance,
      HMS_DATA: paths.data,
      XDG_CONFIG_HOME: `${root}/c`,
      HOME: root,
    },
    dns: [`${vipPrefix}.0.53`, `${vipPrefix}.0.54`],
    vip: (n) => `${vipPrefix}.1.${n}`,
    store: new SnapshotStore(`${paths.data}/dataplane`),
    [Symbol.asyncDispose]: async () => {
      if (existsSync(root)) await instance[Symbol.asyncDispose]();
    },
  };
}

/** As `hms-sys` starts everything: with what Node has compiled before. */
function surroundings(): NodeJS.ProcessEnv {
  const cache = new URL("../../../../node_modules/.cache/node-compile", import.meta.url).pathname;
  // biome-ignore lint/style/noProcessEnv: handed on whole, nothing is read from it
  return { NODE_COMPILE_CACHE: cache, ...process.env };
}
