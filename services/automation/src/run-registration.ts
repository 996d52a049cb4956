import { durationMs } from "@bufbuild/protobuf/wkt";
import { type RowsAsThings, visibleRows } from "@hms/authorization";
import { automationRuns } from "@hms/contracts";
import type { Durable, ListOptions, RetryRequest, RunSummary, RunView, StartRequest } from "@hms/durable";
import { type CallContext, implement, type Kernel, type ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import { mayNotCancel } from "./errors.ts";
import { readLabels } from "./label-filter.ts";
import { readPageToken } from "./page-token.ts";
import type { QueueWorkers } from "./queue-workers.ts";
import type { RunFollower } from "./run-follower.ts";
import { readGraph } from "./run-graph.ts";
import { readLogs } from "./run-log-reader.ts";
import { eventMessage, inputsOf, runMessage, runningMessage, stateName, summaryMessage } from "./run-message.ts";
import { keptPrincipal } from "./run-principal.ts";
import { fromWkt } from "./value.ts";

const { OnLimit, RunDecision, RunService } = automationRuns;

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
const DEFAULT_PAGE_SIZE = 50;
const EVENTS_AT_ONCE = 500;
/** The permission of CancelRun. */
const CONTROL = "runs:control";
const DEFAULT_ENVIRONMENT = "default";

/** What the handlers stand on. */
export interface RunParts {
  readonly kernel: Kernel;
  readonly durable: Durable;
  readonly workers: QueueWorkers;
  readonly follower: RunFollower;
  /** The signal of a call that also ends when the service stops. */
  readonly untilEnd: (context: CallContext) => AbortSignal;
}

const ON_LIMIT: ReadonlyMap<automationRuns.OnLimit, "cancel_running" | "reject"> = new Map([
  [OnLimit.CANCEL_RUNNING, "cancel_running"],
  [OnLimit.REJECT, "reject"],
]);
const DECISIONS: ReadonlyMap<automationRuns.RunDecision, "succeed" | "retry"> = new Map([
  [RunDecision.SUCCEED, "succeed"],
  [RunDecision.RETRY, "retry"],
]);

/** A run is named by its id. */
const thingsOf = (environment: string): RowsAsThings<RunSummary> => ({
  columns: { name: sql`id::text`, environment: sql.ref("environment") },
  thingOf: ({ id: name }) => ({ name, environment }),
});

type Named = { readonly environment: string; readonly runId: string };
const environmentOf = ({ environment }: { readonly environment: string }) => environment || DEFAULT_ENVIRONMENT;

const nobodyAsks = (queue: string, environment: string) =>
  `no worker has asked for steps of the queue "${queue}" in the environment ${environment} of late; such steps wait until one does.`;

/** The methods of hms.automation.v1's runs over the engine. */
export function runRegistration(runParts: RunParts): ServiceRegistration {
  const { kernel, durable, workers, untilEnd } = runParts;
  const patiently = <T>(context: CallContext, work: () => Promise<T>): Promise<T> =>
    retryWhileUnavailable(work, { signal: untilEnd(context), deadlineMs: context.remainingMs ?? PATIENCE_MS });
  const read = (request: Named, context: CallContext): Promise<RunView> =>
    patiently(context, () => durable.get(environmentOf(request), request.runId));
  const orderOf = (request: Named, { principal }: CallContext) => ({
    environment: environmentOf(request),
    runId: request.runId,
    by: keptPrincipal(principal),
  });
  const ordered = async (request: Named, context: CallContext, what: "cancel" | "pause" | "resume") => {
    const changed = await patiently(context, () => durable[what](orderOf(request, context)));
    if (!changed) context.changedNothing();
    return { changed, run: runMessage(await read(request, context)) };
  };

  return implement(RunService, {
    async startRun(request, context) {
      const environment = environmentOf(request);
      const { graph, queues } = await readGraph(kernel, request.graph, environment);
      const asked = startRequest(request, context, graph);
      const { id, isNew } = await durable.start(asked, { authorizeCancel: mayCancel(context, environment) });
      const idle = await workers.idle(environment, [...queues.keys()]).catch(() => []);
      const warnings = idle.map((queue) => `${queues.get(queue)}: ${nobodyAsks(queue, environment)}`);
      return { run: runMessage(await read({ environment, runId: id }, context)), isNew, warnings };
    },

    async getRun(request, context) {
      return { run: runMessage(await read(request, context)) };
    },

    async listRuns(request, context) {
      const environment = request.environment || context.principal.environment || DEFAULT_ENVIRONMENT;
      const limit = request.pageSize || DEFAULT_PAGE_SIZE;
      const query = listOptions(request);
      const found = await visibleRows(context.filter(), thingsOf(environment)).page({
        limit: limit + 1,
        read: ({ after, ...page }) =>
          patiently(context, () =>
            durable.list(environment, { ...query, ...page, ...(after === undefined ? {} : { before: after.id }) }),
          ),
        throwIfEnded: () => context.throwIfEnded(),
      });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return { runs: page.map(summaryMessage), nextPageToken: last?.id ?? "" };
    },

    watchRun: (request, context) => watchRun(runParts, request, { context, read: () => read(request, context) }),

    cancelRun: (request, context) => ordered(request, context, "cancel"),
    pauseRun: (request, context) => ordered(request, context, "pause"),
    resumeRun: (request, context) => ordered(request, context, "resume"),

    async retryRun(request, context) {
      const environment = environmentOf(request);
      const started = await durable.retry({ ...retryRequest(request, context), environment });
      return { run: runMessage(await read({ environment, runId: started.id }, context)), isNew: started.isNew };
    },

    async decideRun(request, context) {
      const { node, target, decision, output, message } = request;
      await durable.decide({
        ...orderOf(request, context),
        node,
        target,
        decision: DECISIONS.get(decision) ?? "fail",
        output: fromWkt(output),
        ...(message === "" ? {} : { message }),
      });
      return { run: runMessage(await read(request, context)) };
    },

    readRunLogs: (request, context) => readLogs(runParts, request, { context, read: () => read(request, context) }),
  });
}

/** Who starts a run may cancel others for it only if they may do so without starting any. */
function mayCancel(context: CallContext, environment: string): (runId: string) => void {
  const controllable = context.filter(CONTROL);
  return (name) => {
    if (!controllable.allows({ name, environment })) throw mayNotCancel(name);
  };
}

function listOptions({ state: asked, labels, pageToken }: automationRuns.ListRunsRequest): ListOptions {
  const state = stateName(asked);
  const before = readPageToken(pageToken);
  return { labels: readLabels(labels), ...(state ? { state } : {}), ...(before ? { before } : {}) };
}

function retryRequest(
  { runId, fromNode, onlyFailedTargets, inputs, idempotencyKey }: automationRuns.RetryRunRequest,
  { principal }: CallContext,
): Omit<RetryRequest, "environment"> {
  const own = inputsOf(inputs);
  return {
    runId,
    onlyFailedTargets,
    principal: keptPrincipal(principal),
    ...(fromNode === "" ? {} : { from: fromNode }),
    ...(own === undefined ? {} : { inputs: own }),
    ...(idempotencyKey === "" ? {} : { idempotencyKey }),
  };
}

function startRequest(
  request: automationRuns.StartRunRequest,
  { principal }: CallContext,
  graph: StartRequest["graph"],
): StartRequest {
  const { labels, idempotencyKey, timeout, priority, concurrency } = request;
  const inputs = inputsOf(request.inputs);
  return {
    environment: environmentOf(request),
    graph,
    principal: keptPrincipal(principal),
    labels,
    priority,
    ...(inputs === undefined ? {} : { inputs }),
    ...(idempotencyKey === "" ? {} : { idempotencyKey }),
    ...(timeout === undefined ? {} : { timeoutMs: durationMs(timeout) }),
    ...(concurrency === undefined
      ? {}
      : {
          concurrency: {
            key: concurrency.key,
            limit: concurrency.limit,
            onLimit: ON_LIMIT.get(concurrency.onLimit) ?? "queue",
          },
        }),
  };
}

/** A run as it stands (unless the caller knows), then its events, each once, until the last. */
async function* watchRun(
  { durable, follower, untilEnd }: RunParts,
  { runId, after }: automationRuns.WatchRunRequest,
  { context, read }: { context: CallContext; read: () => Promise<RunView> },
) {
  const signal = untilEnd(context);
  using followed = follower.follow(runId);
  const view = await read();
  let seen = after === "" ? view.lastSeq : Number(after);
  if (after === "") yield { update: { case: "snapshot" as const, value: runMessage(view) } };
  if (view.endedAt !== null && seen >= view.lastSeq) return;
  for (let known = await followed.next(signal); known !== undefined; ) {
    for (let more = true; more; ) {
      const events = await durable.events(runId, { since: seen, limit: EVENTS_AT_ONCE });
      for (const event of events) {
        seen = event.seq;
        yield { update: { case: "event" as const, value: eventMessage(event) } };
      }
      more = events.length === EVENTS_AT_ONCE;
    }
    if (known.hasEnded && seen >= known.lastSeq) return;
    yield { update: { case: "running" as const, value: runningMessage(known) } };
    const before = known;
    known = await followed.next(signal, before);
  }
}
