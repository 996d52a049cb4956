import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import type { StepExecutor } from "../index.ts";

/** The steps of the crash tests: `fails` attempts fail, each after its effect; `ms` is how long one takes. */
export function scriptedStep(effects: string): StepExecutor {
  return async ({ input, run, node, target, attempt, fence, failures, holds }) => {
    const { fails = 0, ms = 0 } = input as { fails?: number; ms?: number };
    if (ms > 0) await delay(ms);
    if (!holds()) throw new HmsError("ABORTED", `${node} may be somebody else's by now`);
    const isFailing = failures < fails;
    appendFileSync(
      effects,
      `${run.id} ${node} ${target?.name ?? "-"} ${attempt} ${fence} ${process.pid} ${isFailing}\n`,
    );
    if (isFailing) throw new HmsError("UNAVAILABLE", `${node} was told to fail`);
    return { node };
  };
}
