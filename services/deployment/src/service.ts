import { deployment } from "@hms/contracts";
import { type CallContext, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import { planDeploy } from "./deploy-plan.ts";
import { pageSize, pageToken, readPageToken } from "./page-token.ts";
import type { DeploymentRuntime } from "./ports.ts";
import { resourceLimits } from "./replica-spec.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import type { RolloutRequests } from "./rollout-requests.ts";
import { checkedName } from "./service-name.ts";
import { rolloutSummary, type ServiceViews } from "./service-views.ts";
import type { DeploymentStore } from "./store.ts";
import type { Traffic } from "./traffic.ts";

/** What the handlers hand their work to. */
export interface DeploymentParts {
  store: DeploymentStore;
  journal: RolloutJournal;
  requests: RolloutRequests;
  views: ServiceViews;
  runtime: DeploymentRuntime;
  traffic: Traffic;
}

/** The deployment's contract on its parts. */
export function deploymentRegistration(parts: DeploymentParts): ServiceRegistration {
  const { journal, requests } = parts;
  async function* follow(begin: Promise<string>, { signal }: CallContext) {
    yield* journal.watch(await begin, signal);
  }
  return implement(deployment.DeploymentService, {
    deploy: (request, context) => follow(requests.deploy(request, context), context),
    scale: (request, context) => follow(requests.scale(request, context), context),
    restart: (request, context) => follow(requests.restart(request, context), context),
    rollback: (request, context) => follow(requests.rollback(request, context), context),
    stop: (request, context) => follow(requests.stop(request, context), context),
    remove: (request, context) => follow(requests.remove(request, context), context),
    watchRollout: (request, context) => watchRollout(parts, request, context),
    plan: (request) => plan(parts, request),
    listServices: (request) => listServices(parts, request),
    getService: (request) => getService(parts, request),
    listRollouts: (request) => listRollouts(parts, request),
    readLogs: (request, context) => readLogs(parts, request, context),
    runCommand: (request, context) => runCommand(parts, request, context),
  }) as ServiceRegistration;
}

async function* watchRollout(
  { store, journal }: DeploymentParts,
  { rolloutId }: deployment.WatchRolloutRequest,
  { signal }: CallContext,
) {
  if ((await store.rollouts.lastSequence(rolloutId)) === 0n) {
    throw new HmsError("NOT_FOUND", `There is no rollout "${rolloutId}"; \`hms-sys history SERVICE\` lists them.`);
  }
  yield* journal.watch(rolloutId, signal);
}

async function plan({ store, requests }: DeploymentParts, request: deployment.PlanRequest) {
  const { manifest, key } = requests.readManifest(request);
  const service = await store.service(key);
  const current = service && service.revision !== 0n ? await store.revision(key, service.revision) : undefined;
  return planDeploy(manifest, current, requests.wantedAfter(manifest, service));
}

async function listServices({ store, views }: DeploymentParts, request: deployment.ListServicesRequest) {
  if (request.environment !== "") checkedName("environment", request.environment);
  const limit = pageSize(request.pageSize, 100, 1000);
  const [environment, service] = readPageToken(request.pageToken) ?? [];
  const after = environment !== undefined && service !== undefined ? { environment, service } : undefined;
  const found = await store.services(request.environment, after, limit + 1);
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  return {
    services: await Promise.all(page.map((record) => views.summary(record))),
    nextPageToken: last ? pageToken([last.environment, last.service]) : "",
  };
}

async function getService({ store, requests, views }: DeploymentParts, request: deployment.GetServiceRequest) {
  const service = await requests.existing(request);
  const revision = await store.revision(service, service.revision);
  return {
    service: await views.summary(service),
    replicas: await views.replicas(service),
    ...(revision
      ? { manifest: { ...(revision.manifest as object) } as never, releaseDigest: revision.releaseDigest }
      : {}),
  };
}

async function listRollouts({ store, requests }: DeploymentParts, request: deployment.ListRolloutsRequest) {
  const service = await requests.existing(request);
  const limit = pageSize(request.pageSize, 20, 200);
  const [startedAt, rolloutId] = readPageToken(request.pageToken) ?? [];
  const before =
    startedAt !== undefined && rolloutId !== undefined ? { startedAt: new Date(startedAt), rolloutId } : undefined;
  const found = await store.rollouts.list(service, before, limit + 1);
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  return {
    rollouts: await Promise.all(page.map((rollout) => rolloutSummary(rollout, store))),
    nextPageToken: last ? pageToken([last.startedAt.toISOString(), last.rolloutId]) : "",
  };
}

async function* readLogs(
  { requests, runtime }: DeploymentParts,
  request: deployment.ReadLogsRequest,
  { signal }: CallContext,
) {
  const { environment, service } = await requests.existing(request);
  const { replicaId, tail, since, follow, contains } = request;
  const query = { environment, service, replicaId, tail, follow, contains, ...(since ? { since } : {}) };
  for await (const { lines } of runtime.readLogs(query, signal)) yield { lines };
}

async function* runCommand(
  { store, requests, runtime, traffic }: DeploymentParts,
  request: deployment.RunCommandRequest,
  { signal, requestId }: CallContext,
) {
  const service = await requests.existing(request);
  const revision = await store.revision(service, service.revision);
  if (revision === undefined)
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${service.service} has no revision that served, so there is nothing to run a command in.`,
    );
  if (request.command.length === 0) throw new HmsError("INVALID_ARGUMENT", "command: say what to run, after --.");
  const { manifest, releaseDigest, environment } = revision;
  const mesh = await traffic.access(environment);
  const command = request.command.map(shellQuote).join(" ");
  const task = {
    taskId: `run-${requestId}`,
    environment,
    service: service.service,
    releaseDigest,
    command,
    env: manifest.env,
    limits: resourceLimits(manifest),
    mesh,
  };
  for await (const { event } of runtime.runTask(task, signal)) {
    if (event.case !== undefined) yield { event };
  }
}

/** One word of a shell command, whatever is in it. */
function shellQuote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
