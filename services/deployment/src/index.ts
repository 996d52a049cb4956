import { setTimeout as delay } from "node:timers/promises";
import { outboxTables } from "@hms/events";
import type { CallContext, ServiceRegistration } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { stopping } from "./errors.ts";
import { pruneReleases } from "./prune-releases.ts";
import { RolloutDrivers } from "./rollout-drivers.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import { RolloutRequests } from "./rollout-requests.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { pruneSecrets } from "./secrets/secret-retention.ts";
import { secretRegistration } from "./secrets/secret-service.ts";
import type { SecretVault } from "./secrets/secret-vault.ts";
import { deploymentRegistration } from "./service.ts";
import type { DeploymentServiceOptions } from "./service-options.ts";
import { composeParts, composePreviewKeeper, composeScaling, loadBook, openAway } from "./service-parts.ts";
import type { ServiceKey } from "./service-record.ts";
import { ServiceViews } from "./service-views.ts";

export { replicaMethods } from "./gates/replica-methods.ts";
export type { DeploymentTables } from "./tables.ts";

/** The folder of the deployment's migrations. */
export const deploymentMigrations = new URL("../migrations/", import.meta.url);

/** What else its schema holds: the outbox of its events. */
export const deploymentComponents = [outboxTables];
export type { DeploymentServiceOptions } from "./service-options.ts";

/** A deployment service; disposing it leaves rollouts where they are, and the next one carries them on. */
export interface DeploymentService extends AsyncDisposable {
  readonly registration: ServiceRegistration;
  /** hms.sys.deployment.v1.SecretService. */
  readonly secrets: ServiceRegistration;
  /** Resolves once it is known what runs; rollouts begin then. */
  readonly ready: Promise<void>;
  /** To whom a service belongs, as far as it is known in memory; for policies on the call path. */
  ownerOf(key: ServiceKey): string | undefined;
}

const AGAIN_MS = 500;
/** A rollout that no driver has, because its driver failed or its request broke off, is taken up this soon. */
const TAKE_UP_MS = 5_000;

/**
 * Creates the deployment service, follows what runs, keeps it in step with what is on record, and carries on rollouts
 * that have not ended. It answers at once; what needs the database or the runtime waits for them.
 */
export function createDeploymentService(options: DeploymentServiceOptions): DeploymentService {
  const { database, runtime, log, checkpoint, routesDefaultAuth = () => "public" } = options;
  const end = new AbortController();
  const parts = composeParts(options);
  const { late, observed, health, traffic, journal, reconciler } = parts;
  const synced = Promise.withResolvers<void>();
  const following = observed.follow(runtime, { signal: end.signal, synced: synced.resolve, log });
  const openKeepers = once(() => {
    reconciler.open();
    traffic.open();
  });
  const prune = (key: ServiceKey) => tidyAfter(key, { ...options, ...parts });
  const begin = async () => {
    const rollouts = await untilItWorks(() => loadBook(database, parts), { signal: end.signal, log });
    await synced.promise;
    openKeepers();
    scaler.open();
    void watch.run(end.signal);
    void previewKeeper.run(end.signal);
    return rollouts;
  };
  const { promise: ready, ...known } = Promise.withResolvers<void>();
  ready.catch(() => {});
  const drivers = new RolloutDrivers({ ...parts, ready, log, prune, ...(checkpoint ? { checkpoint } : {}) });
  const carryOn = (row: RolloutRow) => drivers.carryOn(row);
  const requests = new RolloutRequests({ ...parts, runtime, begin: carryOn, routesDefaultAuth });
  const { scaler, watch } = composeScaling(options, parts, requests);
  const previewKeeper = composePreviewKeeper(options, parts, requests);
  const takingUp = takeUpAgain(journal, carryOn, log);
  late.away = openAway(options, parts, {
    signal: end.signal,
    synced: synced.promise,
    onHold: openKeepers,
    quit: (key) => drivers.quit(key),
    drive: (spool, onTurn) => drivers.drive(spool.row, { journal: spool, ready: synced.promise, onTurn }),
    onSettled: prune,
  });
  begin().then((rollouts) => {
    known.resolve();
    rollouts.forEach(carryOn);
  }, known.reject);

  return {
    ready,
    ownerOf: (key) => parts.book.get(key)?.owner || undefined,
    registration: deploymentRegistration({
      ...parts,
      away: late.away,
      requests,
      scaler,
      views: new ServiceViews(observed, health),
      runtime,
      untilEnd: (context: CallContext) => AbortSignal.any([context.signal, end.signal]),
      ready,
    }),
    secrets: secretRegistration({ ...parts, database, runtime, log }),
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      clearInterval(takingUp);
      for (const each of [scaler, reconciler, traffic, health]) each.close();
      await Promise.allSettled([following, drivers.close(), late.away?.close()]);
    },
  };
}

/** Looks again and again for rollouts that nobody carries on. */
function takeUpAgain(
  journal: Pick<RolloutJournal, "running">,
  carryOn: (row: RolloutRow) => void,
  log: Logger,
): NodeJS.Timeout {
  const takeUp = () =>
    journal.running().then(
      (rollouts) => rollouts.forEach(carryOn),
      (error) => log.warn("it is not known which rollouts run; it is looked up again", { error }),
    );
  return setInterval(takeUp, TAKE_UP_MS);
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

/** Deletes what nobody can need any more, now that a rollout has ended. */
async function tidyAfter(
  key: ServiceKey,
  { database, runtime, vault, log }: DeploymentServiceOptions & { vault: SecretVault },
): Promise<void> {
  await pruneReleases({ db: database.db, runtime, log }, key);
  await pruneSecrets({ database, vault, log }, key.environment);
}

async function untilItWorks<T>(
  work: () => Promise<T>,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<T> {
  for (;;) {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      log.warn("what is on record cannot be read yet; trying again", { error });
    }
    await delay(AGAIN_MS, undefined, { signal });
  }
}
