import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { programPath } from "@hms/config";
import type { ListenerKeeper } from "@hms/handover";
import { waitFor } from "@hms/testkit";
import type { Installation } from "./installation.ts";

/** How a data plane is started. */
export interface StartOptions {
  /** The parent that keeps its sockets; without, it is started as by hand. */
  keeper?: ListenerKeeper;
  as?: { uid: number; gid: number };
  /** Another file in the place of /etc/resolv.conf; needs root. */
  resolvConf?: string;
}

/** A data plane in a process of its own. */
export interface DataPlaneProcess extends AsyncDisposable {
  child: ChildProcess;
  /** What it has said on stderr. */
  readonly said: string;
  /** Resolves with its exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  /** Its /healthz. */
  health(): Promise<Health>;
}

/** What /healthz answers. */
export interface Health {
  status: string;
  pid: number;
  snapshot: string;
  server: string;
  names: { tier: string; problem?: string };
  problems: string[];
}

/** Starts one, without waiting for it. */
export function spawnDataPlane(installation: Installation, options: StartOptions = {}): DataPlaneProcess {
  const { keeper, as, resolvConf } = options;
  // What the test has written there is the user's own.
  if (as) execFileSync("chown", ["-R", `${as.uid}:${as.gid}`, installation.paths.data, installation.paths.config]);
  const stdio = ["ignore", "ignore", "pipe", ...(keeper ? (["ipc"] as const) : [])] as const;
  const argv = [process.execPath, programPath("dataplane")];
  const hidden = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolvConf ?? ""];
  const [program = "", ...args] = resolvConf ? [...hidden, ...argv] : argv;
  const child = spawn(program, args, {
    env: installation.env,
    stdio: [...stdio],
    ...as,
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const ended = once(child, "close").then(([code, signal]) => (signal ?? code) as number | string);
  keeper
    ?.attach(child)
    .then(() => keeper.confirm(child))
    .catch(() => {});
  return {
    child,
    ended,
    get said() {
      return said;
    },
    health: () => healthOf(installation.network.metricsPort),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Asks a data plane's status page how it is. */
export async function healthOf(port: number): Promise<Health> {
  const response = await fetch(`http://127.0.0.1:${port}/healthz`, { headers: { connection: "close" } });
  return (await response.json()) as Health;
}

/** How many requests and tunnels run on the first endpoint of the first service, as /snapshot says. */
export async function inFlightAt(metricsPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${metricsPort}/snapshot`, { headers: { connection: "close" } });
  const { services } = (await response.json()) as { services: { endpoints: { inFlight: number }[] }[] };
  return services[0]?.endpoints[0]?.inFlight ?? 0;
}

/** Starts one and waits until it serves. @throws Error with what it said if it ends instead. */
export async function startDataPlane(
  installation: Installation,
  options: StartOptions = {},
): Promise<DataPlaneProcess> {
  const plane = spawnDataPlane(installation, options);
  const state = () => plane.said.includes('"message":"serving"') || plane.child.exitCode !== null;
  await waitFor(state, { deadlineMs: 15_000, describe: () => `the data plane to serve; it said: ${plane.said}` });
  if (plane.child.exitCode !== null) throw new Error(`the data plane ended: ${plane.said}`);
  return plane;
}
