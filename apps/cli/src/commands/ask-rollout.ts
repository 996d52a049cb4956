import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

type Ask = "promote" | "abort" | "pause" | "resume";

const SAID: Record<Ask, string> = {
  promote: "promoted",
  abort: "being undone",
  pause: "paused: it finishes what it has begun",
  resume: "going on",
};

/** A command that asks something of the rollout of a service that runs. */
export function asking(what: Ask): { run(invocation: Invocation): Promise<number> } {
  return {
    async run({ args, options, globals, session, output, signal }) {
      const request = {
        service: args[0] ?? "",
        environment: globals.environment,
        rolloutId: typeof options.rollout === "string" ? options.rollout : "",
        reason: typeof options.reason === "string" ? options.reason : "",
        ...(what === "promote" ? { full: options.full === true } : {}),
      };
      const { rolloutId } = await session().deployments[what](request, { signal });
      if (output.json) output.document({ rolloutId });
      else output.result(`${rolloutId} is ${SAID[what]}`);
      output.note(`Follow it with: hms-sys watch ${rolloutId}`);
      return ExitCode.OK;
    },
  };
}
