import type { JsonObject } from "@bufbuild/protobuf";
import type { EffectKind, RolloutPhase, RolloutReplica, RolloutState, RolloutView } from "./rollout-state.ts";

type Match = Partial<Pick<RolloutReplica, "role" | "phase" | "traffic">>;

/** One step of the machine: a copy of the state to change, and what the journal will say. */
export class Turn {
  readonly draft: RolloutState;
  readonly view: RolloutView;
  /** Events in protobuf's JSON form, without rollout, sequence and time. */
  readonly events: JsonObject[] = [];

  constructor(state: RolloutState, view: RolloutView) {
    this.draft = structuredClone(state);
    this.view = view;
  }

  /** The rollout's replicas that match. */
  replicas(match: Match): RolloutReplica[] {
    const keys = Object.keys(match) as (keyof Match)[];
    return this.draft.replicas.filter((replica) => keys.every((key) => replica[key] === match[key]));
  }

  /** The replicas that the running effect is about. */
  get concerned(): RolloutReplica[] {
    const ids = new Set(this.draft.doing?.ids);
    return this.draft.replicas.filter(({ id }) => ids.has(id));
  }

  /** Starts an effect and its step. */
  begin(kind: EffectKind, step: { phase: RolloutPhase; ids: readonly string[]; until: number; title: string }): void {
    const { draft } = this;
    if (draft.phase !== "reverting") draft.phase = step.phase;
    draft.steps += 1;
    const stepId = `${draft.steps}-${kind}`;
    const { ids, until, title } = step;
    draft.doing = { kind, ids, until, stepId, startedAt: this.view.now, title };
    this.events.push({ stepStarted: { stepId, state: stateName(draft.phase), title } });
  }

  /** Ends the running effect and its step; answers how long it took. */
  finish(title: string, ok = true): number {
    const { doing } = this.draft;
    if (!doing) return 0;
    delete this.draft.doing;
    const elapsed = Math.max(0, Math.round(this.view.now - doing.startedAt));
    this.events.push({ stepFinished: { stepId: doing.stepId, title, durationMs: String(elapsed), ok } });
    return elapsed;
  }

  /** Says something within the running step. */
  say(message: string): void {
    const { doing } = this.draft;
    if (doing) this.events.push({ stepProgress: { stepId: doing.stepId, message } });
  }

  /** Ends the rollout. */
  end(phase: "succeeded" | "rolled_back" | "failed"): void {
    delete this.draft.doing;
    this.draft.phase = phase;
  }
}

/** A phase as protobuf's JSON form writes it. */
export function stateName(phase: RolloutPhase): string {
  return `ROLLOUT_STATE_${phase.toUpperCase()}`;
}
