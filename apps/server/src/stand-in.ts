import { existsSync, readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { ChangeSignal, HmsError, Kernel, type MethodSource } from "@hms/kernel";
import type { PartPlacement } from "@hms/parts";
import { absentDatabase, type ConnectionSource, openAdmin } from "@hms/postgres";
import { createDeploymentService, type DeploymentTables } from "@hms/service-deployment";
import { createMeshService, type MeshTables } from "@hms/service-mesh";
import type { Logger } from "@hms/telemetry";
import { serveSocket } from "@hms/wire";
import type { ServerKernel } from "./open-kernel.ts";
import { deploymentGround, keptIn } from "./open-services.ts";

/** What a stand-in is made of. */
export interface StandInGround extends Pick<ServerKernel, "kernel" | "access"> {
  paths: InstancePaths;
  network: InstanceNetwork | undefined;
  placement: PartPlacement;
  source: ConnectionSource;
  log: Logger;
}

/** A database that starts is there by then; commands wait for the server for 10 s. */
const PATIENCE_MS = 8_000;
/** A rollback that was cut off does not wait so long. */
const SHORT_PATIENCE_MS = 1_000;
const LOOK_MS = 2_000;

/**
 * Waits for what needs the database. If that takes long, mesh and deployment do meanwhile what they can without: data planes
 * get their snapshots, rollbacks are carried out, and everything else is refused as UNAVAILABLE. They leave everything on disk
 * for those that come after them.
 */
export async function whileOpening<T>(opening: Promise<T>, ground: StandInGround): Promise<T> {
  const { placement, network, log } = ground;
  const isPossible = placement.isServer && placement.here.includes("mesh") && placement.here.includes("deployment");
  if (!isPossible || network === undefined) return opening;
  if (!(await isMissed(opening, ground))) return opening;
  log.warn("the database does not answer: only status and rollback are served until it does");
  await using _standIn = await openStandIn({ ...ground, network });
  return await opening;
}

/** Whether the database is away when one may wonder; false once everything is open. */
async function isMissed(opening: Promise<unknown>, { paths, source }: StandInGround): Promise<boolean> {
  const opened = new AbortController();
  const isOpen = opening.then(() => true).finally(() => opened.abort());
  let patienceMs = hasRollbacks(paths) ? SHORT_PATIENCE_MS : PATIENCE_MS;
  for (;;) {
    const late = delay(patienceMs, false, { signal: opened.signal, ref: false }).catch(() => true);
    if (await Promise.race([isOpen, late])) return false;
    // One that answers is only slow.
    if (!(await answers(source))) return true;
    patienceMs = LOOK_MS;
  }
}

async function answers(source: ConnectionSource): Promise<boolean> {
  try {
    await using _admin = await openAdmin(source);
    return true;
  } catch (error) {
    return HmsError.from(error).code !== "UNAVAILABLE";
  }
}

async function openStandIn({
  kernel: whole,
  access,
  paths,
  network,
  log,
}: StandInGround & { network: InstanceNetwork }): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const kernel = new Kernel({ ...whole.options, elsewhere: notYet });
  const mesh = createMeshService({ database: absentDatabase<MeshTables>("mesh"), network, kept: keptIn(paths).mesh });
  kernel.register(stack.use(mesh).registration);
  const database = absentDatabase<DeploymentTables>("deployment");
  const deployment = createDeploymentService({ database, ...deploymentGround({ kernel, access, paths, log }, stack) });
  kernel.register(stack.use(deployment).registration);
  stack.use(await serveSocket(kernel, { path: paths.kernelSocket }));
  return stack.move();
}

function hasRollbacks(paths: InstancePaths): boolean {
  const folder = `${keptIn(paths).deployment}/rollbacks`;
  return existsSync(folder) && readdirSync(folder).length > 0;
}

/** Whatever else there is cannot be called yet. */
const notYet: MethodSource = {
  find({ service }) {
    throw new HmsError(
      "UNAVAILABLE",
      `The database is away, so ${service} is not served yet; hms-sys status SERVICE and hms-sys rollback SERVICE are. See hms-sys doctor.`,
      { reason: "DATABASE_DOWN", retryAfterMs: 1000 },
    );
  },
  services: () => [],
  changed: new ChangeSignal(),
};
