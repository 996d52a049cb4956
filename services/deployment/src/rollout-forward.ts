import type { HookMoment } from "@hms/manifest";
import { drain, LARGEST_BATCH, startBatch, TRAFFIC_LIMIT_MS } from "./rollout-begin.ts";
import { awaitsVerdict, judgeBatch, judgeStart } from "./rollout-gates.ts";
import { endHook, runHooks } from "./rollout-hooks.ts";
import type { EffectKind, EffectResult, Failure, GateMoment, RolloutReplica } from "./rollout-state.ts";
import {
  cooled,
  heldBack,
  holdOver,
  holdStep,
  isSideBySide,
  leaveOld,
  nextStep,
  stepOver,
  stepShifted,
} from "./rollout-steps.ts";
import type { Turn } from "./rollout-turn.ts";
import { capital, counted, replicaWords, shortDigest } from "./rollout-words.ts";

/** A build may take long, but not for ever. */
const PREPARE_LIMIT_MS = 30 * 60_000;
/** What stopping may take beyond the grace period. */
const STOP_SLACK_MS = 30_000;
const FORGET_LIMIT_MS = 120_000;
const ids = (replicas: readonly RolloutReplica[]) => replicas.map(({ id }) => id);

/** What follows the lock: the release first, where one is needed. */
export function afterLock(turn: Turn): void {
  const { policy, revision, kind } = turn.draft;
  if (policy.release === "none") {
    serve(turn);
    return;
  }
  const title =
    policy.release === "make" ? "Preparing the release" : `Checking that the release of revision ${revision} is there`;
  const until = turn.view.now + (policy.release === "make" ? PREPARE_LIMIT_MS : TRAFFIC_LIMIT_MS);
  turn.begin("prepare", { phase: kind === "rollback" ? "locked" : turn.draft.phase, ids: [], until, title });
}

/** Begins with what touches the outside: hooks, the release command, then replicas. */
function serve(turn: Turn): void {
  const { draft, view } = turn;
  if (runHooks(turn, "before_deploy")) return;
  draft.serveBy = view.now + draft.policy.deadlineMs;
  if (draft.policy.runsReleaseCommand) {
    turn.begin("release", { phase: "prepared", ids: [], until: draft.serveBy, title: "Running the release command" });
    return;
  }
  weigh(turn);
  next(turn);
}

/** Decides whether what serves is worth being careful with. */
function weigh(turn: Turn): void {
  const serving = turn.replicas({ role: "retiring", traffic: "active" });
  turn.draft.direct =
    serving.length > 0 &&
    turn.replicas({ phase: "planned" }).length > 0 &&
    !serving.some(({ id }) => turn.view.ready.has(id));
}

/** The next batch in, else the rest out, else the end. */
export function next(turn: Turn): void {
  const { draft, view } = turn;
  const planned = turn.replicas({ role: "fresh", phase: "planned" });
  if (isSideBySide(draft)) {
    nextStep(turn);
    return;
  }
  if (planned.length > 0 && !heldBack(turn)) startBatch(turn, planned.slice(0, batchSize(turn)));
  if (planned.length > 0) return;
  const rest = turn.replicas({ role: "retiring", phase: "running" });
  if (rest.length > 0) {
    drain(turn, rest);
    return;
  }
  if (draft.kind === "remove") {
    draft.trafficRevision = 0;
    const title = "Taking the service out of the mesh";
    turn.begin("unregister", { phase: "draining", ids: [], until: view.now + TRAFFIC_LIMIT_MS, title });
    return;
  }
  const active = draft.replicas.filter(({ phase, traffic }) => phase === "running" && traffic === "active");
  const until = view.now + draft.policy.startTimeoutMs;
  const title = draft.policy.wanted === 0 ? "Checking that nothing is left" : `Checking what serves`;
  turn.begin("prove", { phase: draft.phase, ids: ids(active), until, title });
}

/** How many may start now: up to the surge beyond what runs, everything if nothing healthy serves. */
function batchSize(turn: Turn): number {
  const { draft } = turn;
  if (draft.direct) return draft.replicas.length;
  const running = turn.replicas({ phase: "running" }).length;
  const room = Math.max(draft.policy.wanted, draft.originals) + draft.policy.surge - running;
  return Math.min(Math.max(1, room), LARGEST_BATCH);
}

/** After a batch has proved itself: as many old ones go as new ones came, the unhealthy first; all with the last batch. */
function drainBatch(turn: Turn, arrived: number): void {
  const { ready } = turn.view;
  const old = turn.replicas({ role: "retiring", phase: "running" });
  if (old.length === 0) {
    next(turn);
    return;
  }
  const more = turn.replicas({ role: "fresh", phase: "planned" }).length;
  const health = (replica: RolloutReplica) => (replica.traffic === "active" && ready.has(replica.id) ? 1 : 0);
  const inOrder = old.toSorted((a, b) => health(a) - health(b) || b.ordinal - a.ordinal);
  drain(turn, more === 0 ? old : inOrder.slice(0, arrived));
}

/** What follows each effect on the way forward. */
export const forward: Record<EffectKind, (turn: Turn, result: EffectResult) => void> = {
  prepare(turn, { release }) {
    const { draft } = turn;
    if (release) draft.release = release;
    turn.finish(releaseTitle(turn));
    draft.phase = "prepared";
    serve(turn);
  },
  release(turn) {
    turn.finish("Release command finished");
    turn.draft.policy.runsReleaseCommand = false;
    weigh(turn);
    next(turn);
  },
  start(turn) {
    const { draft, view, concerned } = turn;
    turn.finish(`${capital(replicaWords(draft, concerned))} started`);
    const { startTimeoutMs, minHealthyTimeMs } = draft.policy;
    const until = Math.min(draft.serveBy, view.now + startTimeoutMs + minHealthyTimeMs);
    const title = `Waiting for ${replicaWords(draft, concerned)} to become healthy`;
    turn.begin("verify", { phase: "verifying", ids: ids(concerned), until, title });
  },
  verify(turn) {
    const { draft, concerned } = turn;
    turn.finish(`${capital(replicaWords(draft, concerned))} healthy`);
    if (!judgeStart(turn, concerned)) activate(turn, concerned);
  },
  gate(turn, result) {
    const { draft, concerned } = turn;
    const words = capital(replicaWords(draft, concerned));
    const { undecided } = result;
    // What people and their programs take to judge does not count against the rollout's time.
    draft.serveBy += turn.finish(
      undecided === undefined ? `${words} passed the gates` : `The gates cannot tell yet: ${undecided}`,
    );
    if (!awaitsVerdict(turn, result, { moment: "start", concerned: ids(concerned) })) activate(turn, concerned);
  },
  shift(turn, { nodes = 0 }) {
    const { draft, view, concerned } = turn;
    if (draft.split) {
      stepShifted(turn, nodes);
      return;
    }
    const first = draft.originals === 0 && turn.replicas({ traffic: "active" }).length === concerned.length;
    const done = first ? "Registered in service mesh" : `${capital(replicaWords(draft, concerned))} in the mesh`;
    turn.finish(nodes > 0 ? done : `${done} (no data plane is connected; it will see this when it comes)`);
    const until = view.now + draft.policy.startTimeoutMs;
    const title = `Watching ${replicaWords(draft, concerned)} under traffic`;
    turn.begin("bake", { phase: "baking", ids: ids(concerned), until, title });
  },
  bake(turn) {
    const { draft, concerned } = turn;
    turn.finish(`${capital(replicaWords(draft, concerned))} healthy under traffic`);
    if (draft.split) holdStep(turn);
    else if (!judgeBatch(turn, concerned)) drainBatch(turn, concerned.length);
  },
  hold(turn, result) {
    const { concerned } = turn;
    const { holds, awaits } = holdOver(turn, result);
    const moment = holds === "step" || holds === "window" ? holds : awaits;
    if (moment === undefined) next(turn);
    else if (!awaitsVerdict(turn, result, { moment, concerned: ids(concerned) })) AFTER[moment](turn, concerned);
  },
  warm: cooled,
  drain(turn, { left = 0 }) {
    drained(turn, left);
  },
  stop(turn) {
    stopped(turn, true);
    next(turn);
  },
  prove(turn) {
    turn.finish(provenTitle(turn));
    succeed(turn);
  },
  hook: (turn) => afterHook(turn),
  unregister(turn) {
    const { draft, view } = turn;
    turn.finish("Taken out of the service mesh");
    const until = view.now + FORGET_LIMIT_MS;
    turn.begin("forget", { phase: draft.phase, ids: [], until, title: "Deleting releases, logs and history" });
  },
  forget(turn) {
    turn.finish("Releases, logs and history deleted");
    turn.end("succeeded");
  },
};

/** What follows when the gates of a moment have passed. */
const AFTER: Record<GateMoment, (turn: Turn, concerned: RolloutReplica[]) => void> = {
  start: activate,
  step: stepOver,
  window: (turn, concerned) => drainBatch(turn, concerned.length),
  warm: leaveOld,
};

/** What follows a hook: the next one of its moment, else what the moment leads to. */
export function afterHook(turn: Turn, failure?: Failure): void {
  const { at, concerned } = endHook(turn, failure);
  AFTER_HOOKS[at](turn, concerned);
}

const AFTER_HOOKS: Record<HookMoment, (turn: Turn, concerned: RolloutReplica[]) => void> = {
  before_deploy: serve,
  before_traffic: activate,
  after_deploy: succeed,
  on_failure(turn) {
    if (!runHooks(turn, "on_failure")) turn.end(turn.draft.ending ?? "failed");
  },
};

function succeed(turn: Turn): void {
  if (!runHooks(turn, "after_deploy")) turn.end("succeeded");
}

/** Gives replicas that have proved themselves traffic, or makes them ready for their share of it. */
function activate(turn: Turn, proven: readonly RolloutReplica[]): void {
  const { draft, view } = turn;
  if (!draft.shifted && runHooks(turn, "before_traffic", ids(proven))) return;
  const chosen = new Set(ids(proven));
  const fresh = draft.replicas.filter(({ id }) => chosen.has(id));
  for (const replica of fresh) replica.traffic = "active";
  draft.shifted = true;
  if (isSideBySide(draft)) {
    draft.split ??= { revision: draft.revision, share: 0 };
    nextStep(turn);
    return;
  }
  if (turn.replicas({ role: "retiring", traffic: "active" }).length === 0) draft.trafficRevision = draft.revision;
  const until = view.now + TRAFFIC_LIMIT_MS;
  const title = `Sending traffic to ${replicaWords(draft, fresh)}`;
  turn.begin("shift", { phase: "shifting", ids: ids(fresh), until, title });
}

/** Ends draining and begins to stop what has drained. */
export function drained(turn: Turn, left: number): void {
  const { draft, view, concerned } = turn;
  const words = capital(replicaWords(draft, concerned));
  const cut = left > 0 ? `; ${counted(left, "request")} still ran at the drain timeout` : "";
  draft.serveBy += turn.finish(`${words} drained${cut}`);
  beginStop(turn, concerned, view.now);
}

/** Begins to stop replicas. */
export function beginStop(turn: Turn, leaving: RolloutReplica[], now: number): void {
  const { draft } = turn;
  for (const replica of leaving) Object.assign(replica, { phase: "stopping", traffic: "none" });
  const until = now + draft.policy.stopGraceMs + STOP_SLACK_MS;
  const title = `Stopping ${replicaWords(draft, leaving)}`;
  turn.begin("stop", { phase: "draining", ids: ids(leaving), until, title });
}

/** Ends stopping; what could not be stopped in time stays "stopping" and is the reconciler's from now on. */
export function stopped(turn: Turn, ok: boolean): void {
  const { draft, concerned } = turn;
  const words = replicaWords(draft, concerned);
  const gone = new Set(ids(concerned));
  const title = ok ? `${capital(words)} stopped` : `${capital(words)} could not be stopped yet; it is tried again`;
  draft.serveBy += turn.finish(title, ok);
  if (ok) draft.replicas = draft.replicas.filter(({ id }) => !gone.has(id));
}

function releaseTitle({ draft }: Turn): string {
  const { digest = "", fileCount = 0, reused = false } = draft.release ?? {};
  if (draft.policy.release === "find") return `Release of revision ${draft.revision} is there (${shortDigest(digest)})`;
  if (reused) return `Release unchanged (${shortDigest(digest)})`;
  return `Release prepared (${counted(fileCount, "file")}, ${shortDigest(digest)})`;
}

function provenTitle({ draft }: Turn): string {
  const { wanted } = draft.policy;
  if (wanted === 0) return "Nothing of it runs any more";
  const digest = draft.release ? `, ${shortDigest(draft.release.digest)}` : "";
  return `Revision ${draft.revision} serves (${wanted}/${wanted} replicas${digest})`;
}
