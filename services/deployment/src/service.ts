import { deployment } from "@hms/contracts";
import { type CallContext, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import { manifestDiff } from "@hms/manifest";
import type { RollbacksAway } from "./away/rollbacks-away.ts";
import { planDeploy } from "./deploy-plan.ts";
import { noSuchRollout, nothingDeployed } from "./errors.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Freezes } from "./freezes.ts";
import { pageSize, pageToken, readPageToken } from "./page-token.ts";
import { planId } from "./plan-id.ts";
import type { DeploymentRuntime } from "./ports.ts";
import type { Previews } from "./previews/previews.ts";
import { programChanges } from "./program-changes.ts";
import { resourceLimits } from "./replica-spec.ts";
import type { RolloutControl } from "./rollout-control.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import type { RolloutRequests } from "./rollout-requests.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import type { AutoScaler } from "./scaling/auto-scaler.ts";
import { explainScaling } from "./scaling/explain-scaling.ts";
import type { ScalingMemory } from "./scaling/scaling-memory.ts";
import type { DeploySecrets } from "./secrets/deploy-secrets.ts";
import { secretChanges } from "./secrets/secret-changes.ts";
import type { SecretVault } from "./secrets/secret-vault.ts";
import type { ServiceAccess } from "./service-access.ts";
import { checkedName } from "./service-name.ts";
import type { ServiceReader } from "./service-reader.ts";
import type { RevisionRecord, ServiceRecord } from "./service-record.ts";
import { rolloutSummary, type ServiceViews, shownManifest } from "./service-views.ts";
import type { TrafficKeeper } from "./traffic-keeper.ts";

/** What the handlers hand their work to. */
export interface DeploymentParts {
  journal: RolloutJournal;
  feed: EventFeed;
  reader: ServiceReader;
  requests: RolloutRequests;
  control: RolloutControl;
  freezes: Freezes;
  previews: Previews;
  views: ServiceViews;
  runtime: DeploymentRuntime;
  access: ServiceAccess;
  scaler: AutoScaler;
  scalingMemory: ScalingMemory;
  traffic: TrafficKeeper;
  /** What can be done while the database is away; undefined: nothing. */
  away: RollbacksAway | undefined;
  secrets: DeploySecrets;
  vault: SecretVault;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
  /** Resolves once it is known what runs. */
  ready: Promise<void>;
}

/** The deployment's contract on its parts. */
export function deploymentRegistration(parts: DeploymentParts): ServiceRegistration {
  const { journal, feed, reader, access, requests, control, freezes, previews, untilEnd } = parts;
  async function* follow(context: CallContext, begin: () => Promise<string>, { frees = false } = {}) {
    yield* feed.watch(await requests.beginOnce(context, begin, { frees }), untilEnd(context));
  }
  async function* watch(rolloutId: string, context: CallContext) {
    const { environment, service } = parts.away?.find(rolloutId)?.key ?? (await journal.read(rolloutId));
    const known = parts.away?.find(rolloutId)?.copy.record ?? (await reader.find({ environment, service }));
    const record = known ?? { environment, service };
    // The request names no service: whoever may not read it does not learn of its rollouts either.
    if (!access.visible(context).allows(record)) throw noSuchRollout(rolloutId);
    yield* feed.watch(rolloutId, untilEnd(context));
  }
  return implement(deployment.DeploymentService, {
    deploy: (request, context) => follow(context, () => requests.deploy(request, context)),
    scale: (request, context) => follow(context, () => requests.scale(request, context)),
    explainScaling: (request, context) => explain(parts, request, context),
    restart: (request, context) => follow(context, () => requests.restart(request, context)),
    rollback: (request, context) => rollback(parts, request, context),
    retry: (request, context) => follow(context, () => requests.retry(request, context)),
    freeze: (request, context) => freezes.freeze(request, context),
    unfreeze: (request) => freezes.unfreeze(request),
    listFreezes: ({ environment }, context) => freezes.list(environment, context),
    setPreview: (request, context) => previews.set(request, context),
    endPreview: (request, context) => previews.end(request, context),
    listPreviews: (request, context) => previews.list(request, context),
    stop: (request, context) => follow(context, () => requests.stop(request, context), { frees: true }),
    remove: (request, context) => follow(context, () => requests.remove(request, context), { frees: true }),
    promote: (request, context) => control.ask("promote", request, context),
    abort: (request, context) => control.ask("abort", request, context),
    pause: (request, context) => control.ask("pause", request, context),
    resume: (request, context) => control.ask("resume", request, context),
    watchRollout: ({ rolloutId }, context) => watch(rolloutId, context),
    plan: (request, context) => plan(parts, request, context),
    listServices: (request, context) => listServices(parts, request, context),
    getService: (request, context) => getService(parts, request, context),
    listRollouts: (request, context) => listRollouts(parts, request, context),
    readLogs: (request, context) => readLogs(parts, request, context),
    runCommand: (request, context) => runCommand(parts, request, context),
  }) as ServiceRegistration;
}

/** The one change that need not wait for the database. */
async function* rollback(parts: DeploymentParts, request: deployment.RollbackRequest, context: CallContext) {
  const { away, requests, feed, untilEnd } = parts;
  const begin = () => requests.beginOnce(context, () => requests.rollback(request, context), { frees: false });
  yield* feed.watch((await away?.begin(request, context)) ?? (await begin()), untilEnd(context));
}

async function plan(parts: DeploymentParts, request: deployment.PlanRequest, context: CallContext) {
  const { reader, requests, runtime, views } = parts;
  const { manifest, key, sourceDirectory, warnings } = requests.readManifest(request);
  await requests.admit(context, key, sourceDirectory);
  await known(parts, context);
  const record = await reader.find(key);
  const given = { manifest, key, sourceDirectory, signal: parts.untilEnd(context) };
  const { changes, digest } = await programChanges(runtime, record, given);
  const ready = record ? (views.summary(record).replicasReady ?? 0) : 0;
  const secrets = await parts.secrets.newest(context, key, manifest);
  const plan = planDeploy(manifest, { record, program: changes, ready, secrets });
  // What costs requests is told there already.
  const id = planId({ currentRevision: record?.currentRevision ?? 0, manifest, secrets, programDigest: digest });
  return { ...plan, planId: id, warnings: warnings.filter((warning) => !plan.zeroDowntimeReasons?.includes(warning)) };
}

/** Health is a guess before it is known what runs. */
async function known({ ready, untilEnd }: DeploymentParts, context: CallContext): Promise<void> {
  const signal = untilEnd(context);
  const ended = Promise.withResolvers<never>();
  const end = () => ended.reject(HmsError.from(signal.reason));
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  try {
    await Promise.race([ready, ended.promise]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}

async function listServices(parts: DeploymentParts, request: deployment.ListServicesRequest, context: CallContext) {
  const { environment } = request;
  if (environment !== "") checkedName("environment", environment);
  const limit = pageSize(request.pageSize, 100, 1000);
  const [after = "", service = ""] = readPageToken(request.pageToken) ?? [];
  await known(parts, context);
  const place = request.pageToken === "" ? undefined : { environment: after, service };
  const found = await visiblePage(parts, context, { environment, after: place, limit: limit + 1 });
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  return {
    services: page.map((record) => parts.views.summary(parts.away?.held(record) ?? record)),
    nextPageToken: last ? pageToken([last.environment, last.service]) : "",
  };
}

/** The next services that the caller may read. */
function visiblePage(
  { reader, access }: DeploymentParts,
  context: CallContext,
  { environment, after, limit }: Omit<Parameters<ServiceReader["page"]>[0], "where">,
): Promise<ServiceRecord[]> {
  return access.visible<ServiceRecord>(context).page({
    limit,
    read: (page) => reader.page({ environment, ...page, after: page.after ?? after }),
    throwIfEnded: () => context.throwIfEnded(),
  });
}

async function explain(parts: DeploymentParts, request: deployment.ExplainScalingRequest, context: CallContext) {
  const { reader, scaler, scalingMemory, views } = parts;
  const record = await reader.existing(request, context);
  const { decisions } = await scalingMemory.read(record);
  const ready = views.summary(record).replicasReady ?? 0;
  return explainScaling({ record, ready, scaled: scaler.known(record), decisions });
}

async function getService(parts: DeploymentParts, request: deployment.GetServiceRequest, context: CallContext) {
  const remembered = await parts.away?.remembered(request);
  if (remembered === undefined) await known(parts, context);
  const record = remembered?.record ?? (await parts.reader.existing(request, context));
  const current = record.revisions.get(record.currentRevision);
  return {
    notice: remembered?.notice ?? "",
    service: parts.views.summary(record),
    replicas: parts.views.replicas(record),
    ...(current ? { manifest: shownManifest(current.manifest), releaseDigest: current.releaseDigest } : {}),
  };
}

async function listRollouts(
  { reader }: DeploymentParts,
  request: deployment.ListRolloutsRequest,
  context: CallContext,
) {
  const { environment, service } = await reader.existing(request, context);
  const limit = pageSize(request.pageSize, 20, 200);
  const [before] = readPageToken(request.pageToken) ?? [];
  const found = await reader.rollouts({ environment, service, before: position(before), limit: limit + 1 });
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  const revisions = await reader.revisions({ environment, service });
  const byNumber = new Map(revisions.map((revision) => [String(revision.revision), revision]));
  return {
    rollouts: page.map((row) => {
      const changes = request.withChanges ? changesBetween(byNumber, row) : [];
      return rolloutSummary(row, byNumber.get(row.revision), changes);
    }),
    nextPageToken: last ? pageToken([last.position]) : "",
  };
}

/** What a rollout changed in the manifest; nothing is known of revisions that have been forgotten. */
function changesBetween(revisions: ReadonlyMap<string, RevisionRecord>, row: RolloutRow) {
  const [before, after] = [revisions.get(row.previous_revision), revisions.get(row.revision)];
  if (after === undefined) return [];
  return [...manifestDiff(before?.manifest, after.manifest), ...secretChanges(before?.secrets, after.secrets)];
}

function position(token: string | undefined): string | undefined {
  if (token === undefined || /^\d{1,18}$/.test(token)) return token;
  throw new HmsError("INVALID_ARGUMENT", "page_token is not one that a list has answered with: begin without one.");
}

async function* readLogs(
  { reader, runtime, untilEnd }: DeploymentParts,
  request: deployment.ReadLogsRequest,
  context: CallContext,
) {
  const { environment, service } = await reader.existing(request, context);
  const { replicaId, tail, since, follow, contains } = request;
  const query = { environment, service, replicaId, tail, follow, contains, ...(since ? { since } : {}) };
  for await (const { lines } of runtime.readLogs(query, untilEnd(context))) if (lines.length > 0) yield { lines };
}

async function* runCommand(parts: DeploymentParts, request: deployment.RunCommandRequest, context: CallContext) {
  const { reader, runtime, traffic, secrets, vault } = parts;
  const record = await reader.existing(request, context);
  const { environment, service } = record;
  const revision = record.revisions.get(record.currentRevision);
  if (revision === undefined) throw nothingDeployed(record);
  if (request.command.length === 0) {
    throw new HmsError("INVALID_ARGUMENT", "command: say what to run, after --: hms-sys run SERVICE -- COMMAND.");
  }
  await secrets.admitReading(context, record, revision.secrets);
  const { manifest, releaseDigest } = revision;
  const task = {
    taskId: `run-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`,
    environment,
    service,
    releaseDigest,
    command: `exec ${request.command.map(shellQuote).join(" ")}`,
    env: manifest.env,
    ...(await vault.of(record, revision)),
    limits: resourceLimits(manifest),
    mesh: await traffic.access(environment),
  };
  for await (const { event } of runtime.runTask(task, parts.untilEnd(context))) {
    if (event.case !== undefined) yield { event };
  }
}

/** One word of a shell command, whatever is in it. */
function shellQuote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
