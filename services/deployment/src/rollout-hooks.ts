import { formatDuration, type HookMoment, hookMoments, hooksOf, type Manifest, type WrittenHook } from "@hms/manifest";
import type { Failure, HookPlan, RolloutPolicy, RolloutReplica, RolloutState } from "./rollout-state.ts";
import type { Turn } from "./rollout-turn.ts";

/** The hooks of a manifest, as the machine knows them. */
export function hookPlanOf(manifest: Manifest): Pick<RolloutPolicy, "hooks"> {
  const hooks: NonNullable<RolloutPolicy["hooks"]> = {};
  for (const at of hookMoments) {
    const plans = hooksOf(manifest, at).map((hook): HookPlan => {
      return { name: hookName(hook), timeoutMs: hook.timeoutMs, ignored: (hook.onError ?? "ignore") === "ignore" };
    });
    if (plans.length > 0) hooks[at] = plans;
  }
  return Object.keys(hooks).length > 0 ? { hooks } : {};
}

/** What a hook is called in journals: what it runs, or whom it tells. */
function hookName({ run = "", webhook }: WrittenHook): string {
  if (webhook !== undefined) return `webhook ${new URL(webhook).host}`;
  const command = run.trim().replaceAll(/\s+/g, " ");
  return command.length > 60 ? `${command.slice(0, 59)}…` : command;
}

/** What a plan says of the hooks of a moment. */
export function hookSteps(manifest: Manifest, at: HookMoment): string[] {
  return hooksOf(manifest, at).map(
    (hook) => `run the hook ${hookName(hook)}, for at most ${formatDuration(hook.timeoutMs)}`,
  );
}

/** The hook that runs, or ran last. */
export function hookOf({ policy, hook }: Pick<RolloutState, "policy" | "hook">): HookPlan | undefined {
  return hook === undefined ? undefined : policy.hooks?.[hook.at]?.[hook.index];
}

/** Begins the next hook of a moment; false if none is left. `ids` are the replicas that what follows is about. */
export function runHooks(turn: Turn, at: HookMoment, ids: readonly string[] = []): boolean {
  const { draft, view } = turn;
  if (draft.hooksOver?.includes(at)) return false;
  const index = draft.hook?.at === at ? draft.hook.index + 1 : 0;
  const plan = draft.policy.hooks?.[at]?.[index];
  if (plan === undefined) {
    if (index > 0) draft.hooksOver = [...(draft.hooksOver ?? []), at];
    return false;
  }
  draft.hook = { at, index };
  const until = view.now + plan.timeoutMs;
  turn.begin("hook", { phase: draft.phase, ids, until, title: `Running the hook ${plan.name} (${at})` });
  return true;
}

/** Ends the hook that runs; answers what it belonged to. What it took does not count against the rollout's time. */
export function endHook(turn: Turn, failure?: Failure): { at: HookMoment; concerned: RolloutReplica[] } {
  const { draft, concerned } = turn;
  const { at = "on_failure" } = draft.hook ?? {};
  const name = hookOf(draft)?.name ?? "";
  const title = failure ? `Hook ${name} failed, which is ignored: ${failure.reason}` : `Hook ${name} done`;
  draft.serveBy += turn.finish(title, failure === undefined);
  return { at, concerned };
}

/** A rollout that has failed is over once the hooks that hear of it are. */
export function tellFailure(turn: Turn): void {
  const { draft } = turn;
  const { phase } = draft;
  if ((phase !== "rolled_back" && phase !== "failed") || draft.ending !== undefined) return;
  if (draft.policy.hooks?.on_failure === undefined) return;
  draft.ending = phase;
  draft.phase = "reverting";
  runHooks(turn, "on_failure");
}
