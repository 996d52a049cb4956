import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import { outboxTables } from "@hms/events";
import {
  type CallContext,
  ChangeSignal,
  type Client,
  HmsError,
  type Policy,
  type ServiceRegistration,
} from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { SealingKey } from "@hms/secrets";
import type { Logger } from "@hms/telemetry";
import { type AwayParts, RollbacksAway } from "./away/rollbacks-away.ts";
import { ServiceCopies } from "./away/service-copies.ts";
import { KNOWN_GOOD } from "./away/service-copy.ts";
import type { EffectParts } from "./effects/effect-scene.ts";
import { stopping } from "./errors.ts";
import { EventFeed } from "./event-feed.ts";
import { Freezes } from "./freezes.ts";
import { HealthKeeper } from "./health/health-keeper.ts";
import { ObservedReplicas } from "./observed-replicas.ts";
import type { DeploymentRuntime, ReplicaMethods } from "./ports.ts";
import { pruneReleases } from "./prune-releases.ts";
import { Reconciler } from "./reconciler.ts";
import { type CredentialsOf, ReplicaKeeper } from "./replica-keeper.ts";
import { RolloutControl } from "./rollout-control.ts";
import { RolloutDrivers } from "./rollout-drivers.ts";
import { RolloutJournal } from "./rollout-journal.ts";
import { type NewsOutbox, RolloutNews } from "./rollout-news.ts";
import { RolloutRequests } from "./rollout-requests.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { AutoScaler } from "./scaling/auto-scaler.ts";
import { ScalingMemory } from "./scaling/scaling-memory.ts";
import { SleepWatch } from "./scaling/sleep-watch.ts";
import { DeploySecrets } from "./secrets/deploy-secrets.ts";
import { pruneSecrets } from "./secrets/secret-retention.ts";
import { secretRegistration } from "./secrets/secret-service.ts";
import { SecretVault } from "./secrets/secret-vault.ts";
import { serverCarrier } from "./server-carrier.ts";
import { deploymentRegistration } from "./service.ts";
import { ServiceAccess } from "./service-access.ts";
import { ServiceBook } from "./service-book.ts";
import { ServiceReader } from "./service-reader.ts";
import type { ServiceKey } from "./service-record.ts";
import { readGoodRevisions, readServices, replicaIds } from "./service-store.ts";
import { ServiceViews } from "./service-views.ts";
import type { DeploymentTables } from "./tables.ts";
import { TrafficKeeper } from "./traffic-keeper.ts";

export { replicaMethods } from "./gates/replica-methods.ts";
export type { DeploymentTables } from "./tables.ts";

/** The folder of the deployment's migrations. */
export const deploymentMigrations = new URL("../migrations/", import.meta.url);

/** What else its schema holds: the outbox of its events. */
export const deploymentComponents = [outboxTables];

/** What a deployment service is made of. */
export interface DeploymentServiceOptions {
  /** The service's own schema, with the migrations of `deploymentMigrations` applied. */
  database: ServiceDatabase<DeploymentTables>;
  /** The mesh; without the right to `mesh:read` and `mesh:write` no rollout gets far. */
  mesh: Client<typeof mesh.MeshService>;
  runtime: DeploymentRuntime;
  /** Asks methods of replicas, for gates; default: nobody can. */
  methods?: ReplicaMethods;
  /** Variables by which a service's replicas call the platform; the same each time. Default: none. */
  credentials?: CredentialsOf;
  /** Seals secrets of services. Default: none can be set or revealed. */
  sealing?: SealingKey;
  /** Looks closer at calls that the kernel has let in: whom a service belongs to. Default: they may do everything. */
  policy?: Policy;
  /** What `auth` is for routes whose manifest does not say it, asked for each manifest; default public. */
  routesDefaultAuth?: () => "public" | "required";
  /** Where the steps of rollouts are published; default: nowhere. */
  outbox?: NewsOutbox;
  /** The folder of what lets a rollback work while the database is away; default: none, it does not then. */
  kept?: string;
  log: Logger;
  /** Called at every moment at which a crash must do no harm, before it goes on; for tests that crash there. */
  checkpoint?: (moment: string) => void;
}

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
  const parts = compose(options);
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
    return rollouts;
  };
  const known = Promise.withResolvers<void>();
  const { promise: ready } = known;
  ready.catch(() => {});
  const drivers = new RolloutDrivers({ ...parts, ready, log, prune, ...(checkpoint ? { checkpoint } : {}) });
  const carryOn = (row: RolloutRow) => drivers.carryOn(row);
  const requests = new RolloutRequests({ ...parts, runtime, begin: carryOn, routesDefaultAuth });
  const { scaler, watch } = composeScaling(options, parts, requests);
  const takeUp = () =>
    journal.running().then(
      (rollouts) => rollouts.forEach(carryOn),
      (error) => log.warn("it is not known which rollouts run; it is looked up again", { error }),
    );
  const takingUp = setInterval(takeUp, TAKE_UP_MS);
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

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

const noMethods: ReplicaMethods = {
  ask: () => Promise.reject(new HmsError("UNIMPLEMENTED", "Methods of replicas cannot be asked here.")),
};

/** Deletes what nobody can need any more, now that a rollout has ended. */
async function tidyAfter(
  key: ServiceKey,
  { database, runtime, vault, log }: DeploymentServiceOptions & { vault: SecretVault },
): Promise<void> {
  await pruneReleases({ db: database.db, runtime, log }, key);
  await pruneSecrets({ database, vault, log }, key.environment);
}

function compose(options: DeploymentServiceOptions) {
  const { database, mesh, runtime, methods = noMethods, log, policy, sealing, credentials = () => ({}) } = options;
  const vault = new SecretVault({ database, sealing });
  const book = new ServiceBook();
  const observed = new ObservedReplicas();
  const health = new HealthKeeper(book, observed);
  const traffic = new TrafficKeeper({ book, observed, health, mesh, log });
  const replicas = new ReplicaKeeper({ book, observed, runtime, traffic, credentials, vault });
  // Made last, of everything else.
  const late: { away?: RollbacksAway | undefined } = {};
  const copies = options.kept === undefined ? undefined : new ServiceCopies(`${options.kept}/services`, log);
  const reconciler = new Reconciler({
    ...{ db: database.db, book, observed, health, replicas, log },
    noteElsewhere: (key, id, proven) => late.away?.noteProven(key, id, proven) ?? false,
    onProven: (key) => void (book.isHeld(key) || copies?.keep(key, book.get(key))),
  });
  const news = new RolloutNews(options.outbox);
  const journal = new RolloutJournal(database, serverCarrier(), news);
  const effects: EffectParts = {
    book,
    observed,
    health,
    traffic,
    replicas,
    runtime,
    methods,
    vault,
    mesh,
    log,
    replicaIds: (key) => replicaIds(database.db, key),
  };
  const access = new ServiceAccess(policy);
  const feed = new EventFeed({ readEvents: (id, after) => (late.away?.find(id) ?? journal).readEvents(id, after) });
  const asked = new ChangeSignal();
  const reader = new ServiceReader(database.db, {
    isHeld: (key) => book.isHeld(key),
    settled: async (key) => late.away?.settled(key),
  });
  const control = new RolloutControl({ journal, reader, asked });
  const freezes = new Freezes(database.db);
  return {
    vault,
    secrets: new DeploySecrets(database.db, access),
    book,
    late,
    copies,
    news,
    scalingMemory: new ScalingMemory(database.db),
    freezes,
    observed,
    health,
    traffic,
    reconciler,
    journal,
    feed,
    asked,
    reader,
    control,
    effects,
    access,
  };
}

/** Takes everything on record into memory; answers with the rollouts that have not ended. */
async function loadBook(
  { db }: ServiceDatabase<DeploymentTables>,
  { book, copies, journal, vault }: ReturnType<typeof compose>,
): Promise<RolloutRow[]> {
  const records = await readServices(db);
  await vault.preload();
  for (const record of records) book.put(record, record);
  if (copies) await copies.begin(records, await readGoodRevisions(db, KNOWN_GOOD));
  return journal.running();
}

/** What lets a rollback work while the database is away, if there is a place for it. */
function openAway(
  { kept, database, log }: DeploymentServiceOptions,
  { book, copies, effects, news }: ReturnType<typeof compose>,
  own: Pick<AwayParts, "signal" | "synced" | "onHold" | "quit" | "drive" | "onSettled">,
): RollbacksAway | undefined {
  if (kept === undefined || copies === undefined) return undefined;
  return new RollbacksAway({ folder: `${kept}/rollbacks`, database, log, book, copies, effects, news, ...own });
}

/** What lets services follow their load. */
function composeScaling(
  { mesh, log }: DeploymentServiceOptions,
  { book, observed, health, journal, scalingMemory: memory }: ReturnType<typeof compose>,
  requests: RolloutRequests,
) {
  const scaler = new AutoScaler({
    ...{ book, observed, health, mesh, memory, log },
    begin: (key, change) => requests.scaleByLoad(key, change),
    outcome: async (id) => {
      const { phase, ended_at } = await journal.read(id);
      return ended_at === null ? undefined : phase === "succeeded" ? "succeeded" : "failed";
    },
  });
  return { scaler, watch: new SleepWatch({ book, mesh, scaler, log }) };
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
