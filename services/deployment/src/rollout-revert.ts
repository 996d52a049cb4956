import { TRAFFIC_LIMIT_MS } from "./rollout-begin.ts";
import { beginStop, drained, stopped } from "./rollout-forward.ts";
import { replicaSuffix } from "./rollout-id.ts";
import type { EffectKind, EffectResult, Failure, RolloutReplica } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";
import { capital, replicaWords } from "./rollout-words.ts";

const ids = (replicas: readonly RolloutReplica[]) => replicas.map(({ id }) => id);

/** Begins to undo: what still serves goes on, what had gone comes back before the new ones leave. */
export function enterRevert(turn: Turn, failure: Failure): void {
  const { draft } = turn;
  const moved = draft.replicas.some(
    ({ role, traffic }) =>
      (role === "fresh" && traffic === "active") || (role === "retiring" && traffic === "draining"),
  );
  draft.failure = failure;
  draft.phase = "reverting";
  delete draft.split;
  delete draft.holds;
  delete draft.awaits;
  draft.paused = false;
  draft.replicas = draft.replicas.filter(({ phase }) => phase !== "planned");
  for (const replica of turn.replicas({ role: "retiring", phase: "running" })) replica.traffic = "active";
  const missing = missingReplicas(turn);
  if (missing.length > 0 && draft.direct) {
    failure.reason += " What served before was not healthy either, so the new replicas stay.";
    turn.end("failed");
    return;
  }
  if (missing.length === 0) {
    if (moved) shiftBack(turn);
    else stopNew(turn);
    return;
  }
  draft.replicas.push(...missing);
  draft.serveBy = turn.view.now + draft.policy.deadlineMs;
  const title = `Starting ${replicaWords(draft, missing)} again`;
  turn.begin("start", { phase: "reverting", ids: ids(missing), until: draft.serveBy, title });
}

/** Replacements for those of the old revision that have gone already. */
function missingReplicas(turn: Turn): RolloutReplica[] {
  const { draft } = turn;
  if (draft.previousRevision === 0) return [];
  const there = draft.replicas.filter(({ role, phase }) => role !== "fresh" && phase === "running");
  const taken = new Set(there.map(({ ordinal }) => ordinal));
  const suffix = `${replicaSuffix(draft.rolloutId)}r`;
  const missing: RolloutReplica[] = [];
  for (let ordinal = 1; there.length + missing.length < draft.originals; ordinal += 1) {
    if (taken.has(ordinal)) continue;
    const id = `${draft.environment}/${draft.service}/${draft.previousRevision}/${ordinal}-${suffix}`;
    const revision = draft.previousRevision;
    missing.push({ id, revision, ordinal, role: "restored", phase: "running", traffic: "none" });
  }
  return missing;
}

/** Gives the traffic back to what served before, unless the new replicas are the only healthy ones. */
function shiftBack(turn: Turn): void {
  const { draft, view } = turn;
  const fresh = turn.replicas({ role: "fresh", traffic: "active" });
  const others = draft.replicas.filter(({ role, phase }) => role !== "fresh" && phase === "running");
  const healthy = (replicas: readonly RolloutReplica[]) => replicas.some(({ id }) => view.ready.has(id));
  if (others.length > 0 && !healthy(others) && healthy(fresh)) {
    if (draft.failure) draft.failure.reason += " What served before has no healthy replica, so the new ones stay.";
    turn.end("failed");
    return;
  }
  for (const replica of turn.replicas({ role: "restored", phase: "running" })) replica.traffic = "active";
  for (const replica of turn.replicas({ role: "fresh", traffic: "active" })) replica.traffic = "draining";
  draft.trafficRevision = draft.previousRevision || draft.revision;
  const until = view.now + TRAFFIC_LIMIT_MS;
  const active = draft.replicas.filter(({ traffic }) => traffic === "active");
  const title =
    active.length > 0 ? "Giving traffic back to what served before" : "Taking the new replicas out of the mesh";
  turn.begin("shift", { phase: "reverting", ids: ids(active), until, title });
}

function stopNew(turn: Turn): void {
  const fresh = turn.replicas({ role: "fresh", phase: "running" });
  if (fresh.length > 0) {
    beginStop(turn, fresh, turn.view.now);
    return;
  }
  leaveMesh(turn);
}

/** Where nothing served before, nothing is in the mesh afterwards. */
function leaveMesh(turn: Turn): void {
  const { draft, view } = turn;
  if (draft.previousRevision !== 0 || !draft.shifted) {
    turn.end("rolled_back");
    return;
  }
  draft.trafficRevision = 0;
  const title = "Taking the service out of the mesh";
  turn.begin("unregister", { phase: "reverting", ids: [], until: view.now + TRAFFIC_LIMIT_MS, title });
}

/** What follows each effect on the way back. */
export const backward: Partial<Record<EffectKind, (turn: Turn, result: EffectResult) => void>> = {
  start(turn) {
    const { draft, view, concerned } = turn;
    turn.finish(`${capital(replicaWords(draft, concerned))} started again`);
    const { startTimeoutMs, minHealthyTimeMs } = draft.policy;
    const until = Math.min(draft.serveBy, view.now + startTimeoutMs + minHealthyTimeMs);
    const title = `Waiting for ${replicaWords(draft, concerned)} to become healthy`;
    turn.begin("verify", { phase: "reverting", ids: ids(concerned), until, title });
  },
  verify(turn) {
    const { draft, concerned } = turn;
    turn.finish(`${capital(replicaWords(draft, concerned))} healthy`);
    shiftBack(turn);
  },
  shift(turn) {
    const { draft, view } = turn;
    const active = turn.replicas({ traffic: "active" });
    turn.finish(active.length > 0 ? "What served before has the traffic" : "New replicas are out of the mesh");
    const leaving = turn.replicas({ role: "fresh", traffic: "draining" });
    if (leaving.length === 0) {
      stopNew(turn);
      return;
    }
    const until = view.now + TRAFFIC_LIMIT_MS + draft.policy.drainTimeoutMs;
    const title = `Draining ${replicaWords(draft, leaving)}`;
    turn.begin("drain", { phase: "reverting", ids: ids(leaving), until, title });
  },
  drain(turn, { left = 0 }) {
    drained(turn, left);
  },
  stop(turn) {
    stopped(turn, true);
    stopNew(turn);
  },
  unregister(turn) {
    turn.finish("Taken out of the service mesh");
    turn.end("rolled_back");
  },
};

/** When undoing fails too: nothing that serves is touched any more. */
export function revertFailed(turn: Turn, kind: EffectKind, failure: Failure): void {
  const { draft } = turn;
  if (kind === "stop") {
    stopped(turn, false);
    stopNew(turn);
    return;
  }
  turn.finish(draft.doing?.title ?? "", false);
  if (draft.failure) draft.failure.reason += ` Undoing it failed too: ${failure.reason}`;
  // Whatever of it becomes healthy serves; the traffic keeper routes to ready replicas only.
  for (const replica of turn.replicas({ role: "restored", phase: "running" })) replica.traffic = "active";
  for (const replica of turn.replicas({ role: "fresh", traffic: "draining" })) replica.traffic = "active";
  draft.replicas = draft.replicas.map((replica) =>
    replica.role === "fresh" && replica.traffic === "none" ? { ...replica, phase: "stopping" } : replica,
  );
  turn.end("failed");
}
