import { drain, LARGEST_BATCH, LONGEST_HOLD_MS, startBatch, TRAFFIC_LIMIT_MS, WHOLE } from "./rollout-begin.ts";
import { awaitsVerdict, watchedMs, watchesTraffic } from "./rollout-gates.ts";
import type { EffectResult, RolloutState, SideBySide, TrafficStep } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";
import { capital, percent, replicaWords } from "./rollout-words.ts";

type SplitState = RolloutState & { policy: { sideBySide: SideBySide } };

/** Whether both versions serve side by side. What serves badly is not worth it: it is replaced at once. */
export function isSideBySide(draft: RolloutState): draft is SplitState {
  return draft.policy.sideBySide !== undefined && !draft.direct && !isSwitched(draft);
}

/** True once the new version has everything and what served before may go. */
function isSwitched({ policy, step = 0 }: RolloutState): boolean {
  return step >= (policy.sideBySide?.steps.length ?? 0);
}

function currentStep({ policy, step = 0 }: RolloutState): TrafficStep {
  return policy.sideBySide?.steps[step] ?? { share: WHOLE, holdMs: 0 };
}

/** Replicas that must be ready before the new version gets a share: what carries that share of the wanted number. */
function neededFor(share: number, { wanted, sideBySide }: RolloutState["policy"]): number {
  return sideBySide?.whole ? wanted : Math.max(1, Math.ceil((wanted * share) / WHOLE));
}

/** Starts what the next step lacks, else takes the step. */
export function nextStep(turn: Turn): void {
  const { draft, view } = turn;
  if (heldBack(turn)) return;
  const { share } = currentStep(draft);
  const lacking = neededFor(share, draft.policy) - turn.replicas({ role: "fresh", phase: "running" }).length;
  if (lacking > 0) {
    const planned = turn.replicas({ role: "fresh", phase: "planned" });
    startBatch(turn, planned.slice(0, Math.min(lacking, LARGEST_BATCH)));
    return;
  }
  draft.split = { revision: draft.revision, share };
  const fresh = turn.replicas({ role: "fresh", traffic: "active" });
  turn.begin("shift", {
    phase: "shifting",
    ids: fresh.map(({ id }) => id),
    until: view.now + TRAFFIC_LIMIT_MS,
    title:
      share === 0 ? "Opening the preview" : `Sending ${percent(share)} of the traffic to revision ${draft.revision}`,
  });
}

/** A step is in the mesh: its replicas have to bear it. */
export function stepShifted(turn: Turn, nodes: number): void {
  const { draft, view, concerned } = turn;
  const share = draft.split?.share ?? 0;
  const done = share === 0 ? "Preview open" : `Revision ${draft.revision} gets ${percent(share)} of the traffic`;
  turn.finish(nodes > 0 ? done : `${done} (no data plane is connected; it will see this when it comes)`);
  turn.begin("bake", {
    phase: "baking",
    ids: concerned.map(({ id }) => id),
    until: view.now + draft.policy.startTimeoutMs,
    title: `Watching ${replicaWords(draft, concerned)} under traffic`,
  });
}

/** A step has begun well: it is held for as long as it should be. */
export function holdStep(turn: Turn): void {
  const { draft, view } = turn;
  const { share, holdMs: given } = currentStep(draft);
  const holdMs = watchedMs(turn, share, given);
  if (draft.split?.share !== share) {
    // Somebody has skipped steps meanwhile.
    nextStep(turn);
    return;
  }
  if (holdMs === 0) {
    stepOver(turn);
    return;
  }
  draft.holds = "step";
  const at = share === 0 ? "the preview" : percent(share);
  const fresh = turn.replicas({ role: "fresh", traffic: "active" });
  turn.begin("hold", {
    phase: "baking",
    ids: fresh.map(({ id }) => id),
    until: view.now + (holdMs ?? LONGEST_HOLD_MS),
    title:
      holdMs === undefined ? `Waiting at ${at} until somebody promotes it` : `Watching at ${at} for ${seconds(holdMs)}`,
  });
}

const seconds = (ms: number) => (ms < 120_000 ? `${Math.round(ms / 100) / 10} s` : `${Math.round(ms / 60_000)} min`);

/** Holds a rollout that is paused where it would begin something; true if it does. */
export function heldBack(turn: Turn): boolean {
  const { draft, view } = turn;
  if (!draft.paused) return false;
  draft.holds = "pause";
  const fresh = turn.replicas({ role: "fresh", traffic: "active" });
  turn.begin("hold", {
    phase: draft.phase,
    ids: fresh.map(({ id }) => id),
    until: view.now + LONGEST_HOLD_MS,
    title: "Paused until somebody resumes it",
  });
  return true;
}

/** Ends a hold and says what it waited for. What was waited for does not count against the rollout's time. */
export function holdOver(turn: Turn, { undecided }: EffectResult): Pick<RolloutState, "holds" | "awaits"> {
  const { draft } = turn;
  const { holds, awaits } = draft;
  const title = undecided === undefined ? heldTitle(turn) : `The gates cannot tell yet: ${undecided}`;
  delete draft.holds;
  delete draft.awaits;
  draft.serveBy += turn.finish(title);
  return { ...(holds && { holds }), ...(awaits && { awaits }) };
}

function heldTitle({ draft, concerned }: Turn): string {
  const words = capital(replicaWords(draft, concerned));
  if (draft.holds === "pause") return "Resumed";
  if (draft.holds === "verdict" || draft.split === undefined) return `${words} passed the gates`;
  return `${words} healthy at ${percent(draft.split.share)}`;
}

/** The next step, or the end of them. */
export function stepOver(turn: Turn): void {
  const { draft } = turn;
  draft.step = (draft.step ?? 0) + 1;
  if (!isSwitched(draft)) {
    nextStep(turn);
    return;
  }
  keepWarm(turn);
}

/** What served before stays ready for a while: going back is then a change of the traffic only. */
function keepWarm(turn: Turn): void {
  const { draft, view } = turn;
  const given = draft.policy.sideBySide?.warmMs ?? 0;
  const warmMs = given === 0 && watchesTraffic(turn) ? (draft.policy.gates?.windowMs ?? 0) : given;
  if (warmMs === 0) {
    leaveOld(turn);
    return;
  }
  const fresh = turn.replicas({ role: "fresh", traffic: "active" });
  turn.begin("warm", {
    phase: "baking",
    ids: fresh.map(({ id }) => id),
    until: view.now + warmMs,
    title: `Keeping revision ${draft.previousRevision} warm for ${seconds(warmMs)}`,
  });
}

/** The window in which going back costs nothing is over. */
export function cooled(turn: Turn, result: EffectResult): void {
  const { draft } = turn;
  const concerned = turn.concerned.map(({ id }) => id);
  draft.serveBy += turn.finish(`Revision ${draft.revision} healthy with all of the traffic`);
  if (!awaitsVerdict(turn, result, { moment: "warm", concerned })) leaveOld(turn);
}

/** What served before may go. */
export function leaveOld(turn: Turn): void {
  delete turn.draft.split;
  drain(turn, turn.replicas({ role: "retiring", phase: "running" }));
}
