import type { Invocation } from "../../command-spec.ts";
import { followRun } from "../../runs/follow-run.ts";

/** Follows a run to its end. */
export const run = (invocation: Invocation): Promise<number> => followRun(invocation, invocation.args[0] ?? "");
