import { LONGEST_HOLD_MS, WHOLE } from "./rollout-begin.ts";
import type { EffectResult, GateMoment, RolloutReplica } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";
import { replicaWords } from "./rollout-words.ts";

const ids = (replicas: readonly RolloutReplica[]) => replicas.map(({ id }) => id);

/** Asks the gates about replicas that have had no request yet; false if there is nothing to ask, or no time to. */
export function judgeStart(turn: Turn, fresh: readonly RolloutReplica[]): boolean {
  const { draft, view } = turn;
  const limitMs = draft.policy.gates?.startLimitMs;
  if (limitMs === undefined || draft.direct) return false;
  const title = `Asking the gates about ${replicaWords(draft, fresh)}`;
  turn.begin("gate", { phase: "verifying", ids: ids(fresh), until: view.now + limitMs, title });
  return true;
}

/** Whether gates watch the new version while it has traffic. Beside nothing there is nothing to go back to. */
export function watchesTraffic({ draft }: Turn): boolean {
  return draft.policy.gates?.windowMs !== undefined && !draft.direct && draft.originals > 0;
}

/** For how long a step with this share is watched: where the manifest says nothing, as long as its gates need. */
export function watchedMs(turn: Turn, share: number, holdMs: number | undefined): number | undefined {
  if (holdMs !== 0 || share === 0 || share === WHOLE || !watchesTraffic(turn)) return holdMs;
  return turn.draft.policy.gates?.windowMs;
}

/** Watches a batch of a rolling update for as long as its gates need; false if there are none. */
export function judgeBatch(turn: Turn, batch: readonly RolloutReplica[]): boolean {
  const { draft, view } = turn;
  if (!watchesTraffic(turn)) return false;
  draft.holds = "window";
  turn.begin("hold", {
    phase: "baking",
    ids: ids(batch),
    until: view.now + (draft.policy.gates?.windowMs ?? 0),
    title: `Asking the gates about ${replicaWords(draft, batch)} under traffic`,
  });
  return true;
}

interface AwaitedVerdict {
  moment: GateMoment;
  /** Ids of the replicas that are judged. */
  concerned: string[];
}

/** Waits for gates that could not tell, or for a person; false if all could. */
export function awaitsVerdict(turn: Turn, { undecided }: EffectResult, what: AwaitedVerdict): boolean {
  const { draft, view } = turn;
  const { moment, concerned } = what;
  if (undecided === undefined) return false;
  draft.holds = "verdict";
  draft.awaits = moment;
  turn.begin("hold", {
    phase: draft.phase,
    ids: concerned,
    until: view.now + LONGEST_HOLD_MS,
    title: `Waiting for the gates to pass, or for a person: ${undecided}`,
  });
  return true;
}
