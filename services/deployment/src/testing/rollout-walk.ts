import type { JsonObject } from "@bufbuild/protobuf";
import { transition } from "../rollout-machine.ts";
import type { Effect, RolloutAsk, RolloutInput, RolloutKind, RolloutPolicy } from "../rollout-state.ts";
import { hasEnded } from "../rollout-state.ts";
import { failure, oldReplicas, planned, policy, success } from "./rollout-fixtures.ts";

interface Script {
  kind?: RolloutKind;
  old?: number;
  /** Old replicas that are ready; default all. */
  oldReady?: number;
  policy?: Partial<RolloutPolicy>;
  revision?: number;
  /** What happens instead of success, by the n-th effect of a kind: "verify:2". */
  failing?: string[];
  /** What somebody asks for during the n-th effect of a kind, before it is done. */
  asks?: Record<string, RolloutAsk["what"] | "promote full">;
  /** Effects whose gates cannot tell. */
  undecided?: string[];
}

/** What an effect leads to in this script, and what it does to the health of replicas. */
function answer(
  effect: Effect,
  nth: number,
  { failing, undecided, ready }: { failing: string[]; undecided: string[]; ready: Set<string> },
): RolloutInput {
  if (undecided.includes(`${effect.kind}:${nth}`)) return { type: "done", result: { undecided: "smoke (YELLOW)" } };
  if (failing.includes(`${effect.kind}:${nth}`)) return { type: "failed", failure: failure(effect) };
  for (const id of effect.ids) {
    if (effect.kind === "verify") ready.add(id);
    if (effect.kind === "stop") ready.delete(id);
  }
  return success(effect);
}

/** Walks a rollout through, every effect done at once; answers with what was done, in order. */
export function walk(script: Script) {
  const { kind = "deploy", old = 2, oldReady = old, failing = [], undecided = [] } = script;
  const existing = oldReplicas(old);
  const ready = new Set(existing.slice(0, oldReady).map(({ id }) => id));
  const revision = script.revision ?? (kind === "deploy" ? 2 : 1);
  const previousRevision = old > 0 ? 1 : 0;
  const grant = {
    revision,
    previousRevision,
    trafficRevision: previousRevision,
    policy: policy(script.policy),
    existing,
  };
  const effects: Effect[] = [];
  const titles: string[] = [];
  let state = planned(kind);
  let input: RolloutInput = { type: "locked", grant };
  for (let now = 0; !hasEnded(state); now += 100) {
    const next = transition(state, input, { now, ready });
    state = next.state;
    titles.push(...next.events.flatMap(finishedTitle));
    if (!state.doing) break;
    effects.push(state.doing);
    const nth = effects.filter((each) => each.kind === state.doing?.kind).length;
    const { kind: doing } = state.doing;
    const asked = script.asks?.[`${doing}:${nth}`];
    if (asked) {
      const ask = {
        what: asked.split(" ")[0] as RolloutAsk["what"],
        full: asked.endsWith("full"),
        by: "anna",
        reason: "",
      };
      const { stepId } = state.doing;
      const answered = transition(state, { type: "asked", ask }, { now, ready });
      titles.push(...answered.events.flatMap(finishedTitle));
      state = answered.state;
      if (hasEnded(state)) break;
      if (state.doing?.stepId !== stepId) {
        input = { type: "resumed", awayMs: 0, why: "" };
        continue;
      }
    }
    input = answer(state.doing, nth, { failing, undecided, ready });
  }
  return { state, done: effects.map(inWords), titles };
}

function finishedTitle({ stepFinished }: JsonObject): string[] {
  const { title, ok } = (stepFinished ?? {}) as { title?: string; ok?: boolean };
  return title === undefined ? [] : [`${ok ? "✓" : "✗"} ${title}`];
}

const inWords = ({ kind, ids }: Effect) => [kind, ...ids.map(short)].join(" ");
/** "2/1" of a replica, without where it is and which rollout made it. */
export const short = (id: string) => id.split("/").slice(2).join("/").replace(/-.*/, "");
