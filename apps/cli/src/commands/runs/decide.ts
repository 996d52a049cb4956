import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { runClient } from "../../runs/run-client.ts";
import { runJson } from "../../runs/run-json.ts";

const { RunDecision } = automationRuns;

const SAID = {
  succeed: { decision: RunDecision.SUCCEED, did: "has succeeded, somebody decided" },
  fail: { decision: RunDecision.FAIL, did: "has failed, somebody decided" },
  retry: { decision: RunDecision.RETRY, did: "is done again" },
} as const;

/** A command that decides of a node that waits for it. */
export function deciding(what: keyof typeof SAID): { run(invocation: Invocation): Promise<number> } {
  const { decision, did } = SAID[what];
  return {
    async run({ args, options, globals, session, output, signal }) {
      const [runId = "", node = ""] = args;
      const target = typeof options.target === "string" ? options.target : "";
      const value = outputOf(options.with);
      const request = {
        runId,
        environment: globals.environment,
        node,
        target,
        decision,
        message: typeof options.reason === "string" ? options.reason : "",
        ...(value === undefined ? {} : { output: fromJson(ValueSchema, value) }),
      };
      const { run } = await runClient(session()).decideRun(request, { signal });
      if (output.json && run) output.document(runJson(run));
      else output.result(`${node}${target === "" ? "" : ` (${target})`} ${did}`);
      return ExitCode.OK;
    },
  };
}

function outputOf(option: string | boolean | undefined): JsonValue | undefined {
  if (typeof option !== "string") return undefined;
  try {
    return JSON.parse(option) as JsonValue;
  } catch {
    throw new HmsError("INVALID_ARGUMENT", `--with is no JSON: ${option}. Write texts with quotes, as in '"done"'.`);
  }
}
