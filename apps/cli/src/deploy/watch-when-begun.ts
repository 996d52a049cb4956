import { setTimeout as pause } from "node:timers/promises";
import type { deployment } from "@hms/contracts";
import type { CallOptions } from "@hms/kernel";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";

const AGAIN_MS = 100;

/**
 * The events of a rollout that a step begins. @throws HmsError NOT_FOUND if the step is `over` and there is none: it was refused.
 */
export async function* watchWhenBegun(
  { session }: Pick<Invocation, "session">,
  rolloutId: string,
  { over, options }: { over: () => boolean; options: CallOptions },
): AsyncGenerator<deployment.RolloutEvent> {
  for (;;) {
    const wasOver = over();
    try {
      yield* session().deployments.watchRollout({ rolloutId }, options);
      return;
    } catch (error) {
      if (!(error instanceof HmsError) || error.code !== "NOT_FOUND" || wasOver) throw error;
    }
    await pause(AGAIN_MS, undefined, options.signal ? { signal: options.signal } : {});
  }
}
