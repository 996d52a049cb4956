import type { JsonObject } from "@bufbuild/protobuf";
import { takeAsk } from "./rollout-asks.ts";
import { afterHook, afterLock, forward, next, stopped } from "./rollout-forward.ts";
import { hookOf, tellFailure } from "./rollout-hooks.ts";
import { replicaSuffix } from "./rollout-id.ts";
import { backward, enterRevert, revertFailed } from "./rollout-revert.ts";
import type {
  Effect,
  Failure,
  LockGrant,
  RolloutInput,
  RolloutKind,
  RolloutReplica,
  RolloutState,
  RolloutView,
} from "./rollout-state.ts";
import { Turn } from "./rollout-turn.ts";

/** What a transition leads to. */
export interface Transition {
  state: RolloutState;
  /** What the journal says of it: events in protobuf's JSON form, without rollout, sequence and time. */
  events: JsonObject[];
}

/**
 * The rollout's state machine: planned → locked → prepared → scaling → verifying → shifting → baking → draining →
 * succeeded, any failure → reverting → rolled_back or failed. Pure: the outside does `state.doing`, then says how it went.
 */
export function transition(state: RolloutState, input: RolloutInput, view: RolloutView): Transition {
  const turn = new Turn(state, view);
  apply(turn, input);
  if (input.type !== "refused") tellFailure(turn);
  return { state: turn.draft, events: turn.events };
}

function apply(turn: Turn, input: RolloutInput): void {
  const { draft } = turn;
  switch (input.type) {
    case "locked":
      takeGrant(turn, input.grant);
      return;
    case "refused":
      draft.failure = input.failure;
      draft.previousRevision = input.serves ?? draft.previousRevision;
      turn.end("rolled_back");
      return;
    case "resumed":
      resume(turn, input);
      return;
    case "asked":
      takeAsk(turn, input.ask);
      return;
    case "done": {
      const kind = draft.doing?.kind;
      if (kind === undefined) return;
      const follow = draft.phase === "reverting" && kind !== "hook" ? backward[kind] : forward[kind];
      follow?.(turn, input.result);
      return;
    }
    case "failed":
      fail(turn, input.failure);
      return;
  }
}

/** A state in which nobody could act does not count against its deadline. */
function resume(turn: Turn, { awayMs, why }: { awayMs: number; why: string }): void {
  const { draft } = turn;
  if (draft.doing) draft.doing = carriedOn(draft, draft.doing, { now: turn.view.now, awayMs });
  draft.serveBy += awayMs;
  turn.say(why);
}

/** What gates have seen of a hold is gone with the server that watched, so the hold is watched anew. */
function carriedOn({ policy }: RolloutState, doing: Effect, { now, awayMs }: { now: number; awayMs: number }): Effect {
  const watched = policy.gates?.windowMs !== undefined && (doing.kind === "hold" || doing.kind === "warm");
  if (!watched) return { ...doing, until: doing.until + awayMs };
  return { ...doing, startedAt: now, until: now + (doing.until - doing.startedAt) };
}

function fail(turn: Turn, failure: Failure): void {
  const { draft } = turn;
  const doing = draft.doing;
  if (doing === undefined) return;
  if (doing.kind === "hook" && hookOf(draft)?.ignored !== false) {
    afterHook(turn, failure);
    return;
  }
  if (draft.phase === "reverting") {
    revertFailed(turn, doing.kind, failure);
    return;
  }
  if (doing.kind === "stop") {
    // What asked for traffic has it; a process that does not end is no reason to go back.
    stopped(turn, false);
    if (draft.kind !== "stop" && draft.kind !== "remove") {
      next(turn);
      return;
    }
    draft.failure = failure;
    turn.end("failed");
    return;
  }
  turn.finish(doing.title, false);
  const ends = draft.kind === "stop" || draft.kind === "remove";
  if (ends && doing.kind !== "drain") {
    draft.failure = failure;
    turn.end("failed");
    return;
  }
  enterRevert(turn, failure);
}

function takeGrant(turn: Turn, grant: LockGrant): void {
  const { draft, view } = turn;
  const { revision, previousRevision, trafficRevision } = grant;
  Object.assign(draft, { phase: "locked", revision, previousRevision, trafficRevision, policy: { ...grant.policy } });
  if (grant.stopped) draft.beganStopped = true;
  const existing = grant.existing.map((replica) => ({ ...replica, phase: "running" as const }));
  draft.originals = existing.filter(({ traffic }) => traffic === "active").length;
  // Beside nothing there is nothing to be careful with.
  if (draft.originals === 0) delete draft.policy.sideBySide;
  const keeps = draft.kind === "scale" ? keptReplicas(existing, { grant, view }) : new Set<string>();
  draft.replicas = existing.map((replica) => ({ ...replica, role: keeps.has(replica.id) ? "kept" : "retiring" }));
  if (draft.kind !== "stop" && draft.kind !== "remove") draft.replicas.push(...freshReplicas(draft));
  afterLock(turn);
}

/** Scaling keeps what serves the current revision, the healthy and the oldest first. */
function keptReplicas(
  existing: LockGrant["existing"],
  { grant, view }: { grant: LockGrant; view: RolloutView },
): Set<string> {
  const sound = existing.filter(({ traffic, revision }) => traffic === "active" && revision === grant.revision);
  const health = ({ id }: { id: string }) => (view.ready.has(id) ? 0 : 1);
  const inOrder = sound.toSorted((a, b) => health(a) - health(b) || a.ordinal - b.ordinal);
  return new Set(inOrder.slice(0, grant.policy.wanted).map(({ id }) => id));
}

function freshReplicas({
  rolloutId,
  environment,
  service,
  revision,
  policy,
  replicas,
}: RolloutState): RolloutReplica[] {
  const kept = replicas.filter(({ role }) => role === "kept");
  const taken = new Set(kept.map(({ ordinal }) => ordinal));
  const suffix = replicaSuffix(rolloutId);
  const fresh: RolloutReplica[] = [];
  for (let ordinal = 1; kept.length + fresh.length < policy.wanted; ordinal += 1) {
    if (taken.has(ordinal)) continue;
    const id = `${environment}/${service}/${revision}/${ordinal}-${suffix}`;
    fresh.push({ id, revision, ordinal, role: "fresh", phase: "planned", traffic: "none" });
  }
  return fresh;
}

/** A rollout that waits for its lock. */
export function plannedRollout(
  facts: Pick<RolloutState, "rolloutId" | "environment" | "service" | "revision" | "previousRevision"> & {
    kind: RolloutKind;
  },
): RolloutState {
  return {
    ...facts,
    phase: "planned",
    policy: {
      wanted: 0,
      surge: 1,
      startTimeoutMs: 0,
      minHealthyTimeMs: 0,
      drainTimeoutMs: 0,
      stopGraceMs: 0,
      deadlineMs: 0,
      release: "none",
      runsReleaseCommand: false,
    },
    replicas: [],
    originals: 0,
    direct: false,
    shifted: false,
    serveBy: 0,
    trafficRevision: facts.previousRevision,
    steps: 0,
  };
}
