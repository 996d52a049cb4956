import { forward } from "./rollout-forward.ts";
import { enterRevert } from "./rollout-revert.ts";
import type { RolloutAsk } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";

/** Takes what a person asks of the rollout; what does not fit its state any more is said and changes nothing. */
export function takeAsk(turn: Turn, ask: RolloutAsk): void {
  const { draft } = turn;
  draft.asksTaken = (draft.asksTaken ?? 0) + 1;
  if (draft.phase === "reverting") {
    turn.say(`${ask.by} asked to ${ask.what} it; it is being undone already.`);
    return;
  }
  TAKE[ask.what](turn, ask);
}

const why = ({ reason }: RolloutAsk) => (reason === "" ? "" : `: ${reason}`);

const TAKE: Record<RolloutAsk["what"], (turn: Turn, ask: RolloutAsk) => void> = {
  promote(turn, ask) {
    const { draft } = turn;
    const { sideBySide } = draft.policy;
    const kind = draft.doing?.kind;
    const waits = (kind === "hold" && draft.holds !== "pause") || kind === "warm";
    const endsStep = kind === "hold" && (draft.holds === "step" || draft.awaits === "step");
    turn.say(`Promoted by ${ask.by}${ask.full ? ", skipping the steps that are left" : ""}${why(ask)}`);
    // The last step is not skipped: it is what a promotion leads to. A hold that ends counts one on by itself.
    const last = (sideBySide?.steps.length ?? 1) - 1;
    if (ask.full && sideBySide) draft.step = Math.max(draft.step ?? 0, endsStep ? last - 1 : last);
    if (waits && kind) forward[kind](turn, {});
  },
  abort(turn, ask) {
    const { draft } = turn;
    turn.finish(draft.doing?.title ?? "", false);
    const failure = { reason: `Aborted by ${ask.by}${why(ask)}.`, remedy: "Deploy it again when it may go on." };
    enterRevert(turn, failure);
  },
  pause(turn, ask) {
    turn.draft.paused = true;
    turn.say(`Paused by ${ask.by}${why(ask)}; what has begun is finished first.`);
  },
  resume(turn, ask) {
    const { draft } = turn;
    draft.paused = false;
    turn.say(`Resumed by ${ask.by}${why(ask)}`);
    if (draft.doing?.kind === "hold" && draft.holds === "pause") forward.hold(turn, {});
  },
};
