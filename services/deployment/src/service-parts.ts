import { ChangeSignal, HmsError, principalName } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Transaction } from "kysely";
import { type AwayParts, RollbacksAway } from "./away/rollbacks-away.ts";
import { ServiceCopies } from "./away/service-copies.ts";
import { KNOWN_GOOD } from "./away/service-copy.ts";
import type { EffectParts } from "./effects/effect-scene.ts";
import { EventFeed } from "./event-feed.ts";
import { Freezes } from "./freezes.ts";
import { HealthKeeper } from "./health/health-keeper.ts";
import { ObservedReplicas } from "./observed-replicas.ts";
import type { ReplicaMethods } from "./ports.ts";
import { PREVIEW_KEEPER, PreviewKeeper } from "./previews/preview-keeper.ts";
import { holdEnd, type PreviewRow, PreviewStore } from "./previews/preview-store.ts";
import { movedMeanwhile, Previews } from "./previews/previews.ts";
import { Reconciler } from "./reconciler.ts";
import { ReplicaKeeper } from "./replica-keeper.ts";
import { abortBeforeRemoval, RolloutControl } from "./rollout-control.ts";
import { RolloutJournal } from "./rollout-journal.ts";
import { RolloutNews } from "./rollout-news.ts";
import type { RolloutRequests } from "./rollout-requests.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { AutoScaler } from "./scaling/auto-scaler.ts";
import { ScalingMemory } from "./scaling/scaling-memory.ts";
import { SleepWatch } from "./scaling/sleep-watch.ts";
import { DeploySecrets } from "./secrets/deploy-secrets.ts";
import { SecretVault } from "./secrets/secret-vault.ts";
import { serverCarrier } from "./server-carrier.ts";
import { ServiceAccess } from "./service-access.ts";
import { ServiceBook } from "./service-book.ts";
import type { DeploymentServiceOptions } from "./service-options.ts";
import { ServiceReader } from "./service-reader.ts";
import type { ServiceKey } from "./service-record.ts";
import { readGoodRevisions, readServices, replicaIds } from "./service-store.ts";
import type { DeploymentTables } from "./tables.ts";
import { TrafficKeeper } from "./traffic-keeper.ts";

const noMethods: ReplicaMethods = {
  ask: () => Promise.reject(new HmsError("UNIMPLEMENTED", "Methods of replicas cannot be asked here.")),
};

/** Whoever deploys into a preview that is being forgotten waits as long. */
const MESH_MS = 5_000;

/** Makes what the methods and the rollouts stand on; nothing runs yet. */
export function composeParts(options: DeploymentServiceOptions) {
  const { database, mesh, runtime, methods = noMethods, log, policy, sealing, credentials = () => ({}) } = options;
  const file = options.kept === undefined ? undefined : `${options.kept}/secrets.json`;
  const vault = new SecretVault({ database, sealing, file });
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
    ...composePreviews(options, access),
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

/** The environments that end by themselves. */
function composePreviews({ database, now = Date.now }: DeploymentServiceOptions, access: ServiceAccess) {
  const previewStore = new PreviewStore(database);
  const moved = new ChangeSignal();
  return { previewStore, moved, now, previews: new Previews({ store: previewStore, access, moved, now }) };
}

/** What a deployment service stands on. */
export type DeploymentServiceParts = ReturnType<typeof composeParts>;

/** Takes everything on record into memory; answers with the rollouts that have not ended. */
export async function loadBook(
  { db }: ServiceDatabase<DeploymentTables>,
  { book, copies, journal, vault }: DeploymentServiceParts,
): Promise<RolloutRow[]> {
  const records = await readServices(db);
  await vault.preload();
  for (const record of records) book.put(record, record);
  if (copies) await copies.begin(records, await readGoodRevisions(db, KNOWN_GOOD));
  return journal.running();
}

/** What lets a rollback work while the database is away, if there is a place for it. */
export function openAway(
  { kept, database, log }: DeploymentServiceOptions,
  { book, copies, effects, news }: DeploymentServiceParts,
  own: Pick<AwayParts, "signal" | "synced" | "onHold" | "quit" | "drive" | "onSettled">,
): RollbacksAway | undefined {
  if (kept === undefined || copies === undefined) return undefined;
  return new RollbacksAway({ folder: `${kept}/rollbacks`, database, log, book, copies, effects, news, ...own });
}

/** What removes previews that have ended. */
export function composePreviewKeeper(
  { audit, log, mesh }: DeploymentServiceOptions,
  { journal, asked, previewStore: store, moved, now, vault }: DeploymentServiceParts,
  requests: RolloutRequests,
): PreviewKeeper {
  const remove = async (key: ServiceKey, preview: PreviewRow, reason: string) => {
    await abortBeforeRemoval({ journal, asked }, key, { by: principalName(PREVIEW_KEEPER), reason });
    const admit = async (trx: Transaction<DeploymentTables>) => {
      if (!(await holdEnd(trx, preview))) throw movedMeanwhile(preview.environment);
    };
    await requests.removeFor(PREVIEW_KEEPER, key, { reason, admit });
  };
  return new PreviewKeeper({
    ...{ store, moved, now, remove, audit, log },
    removeEnvironment: async (environment) => {
      await mesh.removeEnvironment({ environment }, { timeoutMs: MESH_MS });
    },
    destroyed: (key, versions) => vault.forget(key, versions),
  });
}

/** What lets services follow their load. */
export function composeScaling(
  { mesh, log }: DeploymentServiceOptions,
  { book, observed, health, journal, scalingMemory: memory }: DeploymentServiceParts,
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
