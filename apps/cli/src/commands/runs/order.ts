import { automationRuns } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { enumWord } from "../../output/human.ts";
import { runClient } from "../../runs/run-client.ts";
import { runJson } from "../../runs/run-json.ts";

const SAID = {
  cancel: { method: "cancelRun", did: "is being stopped", not: "had ended, or was stopping already" },
  pause: { method: "pauseRun", did: "is paused", not: "was paused, stopping, or had ended already" },
  resume: { method: "resumeRun", did: "goes on", not: "was not paused" },
} as const;

/** A command that tells a run something. */
export function ordering(what: keyof typeof SAID): { run(invocation: Invocation): Promise<number> } {
  const { method, did, not } = SAID[what];
  return {
    async run({ args, globals, session, output, signal }) {
      const request = { runId: args[0] ?? "", environment: globals.environment };
      const { changed, run } = await runClient(session())[method](request, { signal });
      if (output.json && run) {
        output.document({ changed, run: runJson(run) });
      } else {
        const state = enumWord(automationRuns.RunState, run?.state ?? 0);
        output.result(`${request.runId} ${changed ? did : `${not} (${state})`}`);
      }
      return ExitCode.OK;
    },
  };
}
