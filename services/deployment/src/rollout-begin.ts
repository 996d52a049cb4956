import type { RolloutReplica } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";
import { replicaWords } from "./rollout-words.ts";

/** Data planes take a new picture within milliseconds; one that does not in this time never will. */
export const TRAFFIC_LIMIT_MS = 30_000;
/** Starting more at once only makes each of them slower. */
export const LARGEST_BATCH = 20;
/** A hold that nobody ends is undone after this long: every state ends. */
export const LONGEST_HOLD_MS = 7 * 24 * 60 * 60_000;
/** All requests, in ten-thousandths. */
export const WHOLE = 10_000;

const ids = (replicas: readonly RolloutReplica[]) => replicas.map(({ id }) => id);

/** Begins to start replicas. */
export function startBatch(turn: Turn, batch: RolloutReplica[]): void {
  const { draft } = turn;
  for (const replica of batch) replica.phase = "running";
  const title = `Starting ${replicaWords(draft, batch)}`;
  turn.begin("start", { phase: "scaling", ids: ids(batch), until: draft.serveBy, title });
  if (draft.direct) turn.say("No replica of the serving revision is healthy, so it is replaced at once.");
}

/** Takes replicas out of new requests; they finish what they have. */
export function drain(turn: Turn, leaving: RolloutReplica[]): void {
  const { draft, view } = turn;
  for (const replica of leaving) replica.traffic = "draining";
  if (turn.replicas({ role: "retiring", traffic: "active" }).length === 0) draft.trafficRevision = draft.revision;
  const until = view.now + TRAFFIC_LIMIT_MS + draft.policy.drainTimeoutMs;
  turn.begin("drain", {
    phase: "draining",
    ids: ids(leaving),
    until,
    title: `Draining ${replicaWords(draft, leaving)}`,
  });
}
