import { automationRuns } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { enumWord, humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";
import { parseCount } from "../../parse-option.ts";
import { repeated } from "../../runs/named-values.ts";
import { runClient } from "../../runs/run-client.ts";

const { RunSchema, RunState } = automationRuns;

/** Lists the runs of an environment, newest first. */
export async function run({ options, globals, session, output, signal }: Invocation): Promise<number> {
  const limit = parseCount("--limit", String(options.limit), 1);
  const query = {
    environment: globals.environment,
    state: stateOf(options.state),
    labels: repeated(options.label),
  };
  const runs: automationRuns.Run[] = [];
  let pageToken = "";
  do {
    const pageSize = Math.min(500, limit - runs.length);
    const page = await runClient(session()).listRuns({ ...query, pageSize, pageToken }, { signal });
    runs.push(...page.runs);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && runs.length < limit);
  presentList(output, {
    schema: RunSchema,
    messages: runs,
    head: ["RUN", "STATE", "LABELS", "FOR", "STARTED", "ENDED"],
    row,
    none: "There are no such runs.",
  });
  return ExitCode.OK;
}

function stateOf(option: string | boolean | undefined): automationRuns.RunState {
  if (typeof option !== "string") return RunState.UNSPECIFIED;
  const state = RunState[option.toUpperCase().replaceAll("-", "_") as keyof typeof RunState];
  if (state !== undefined && state !== RunState.UNSPECIFIED) return state;
  const known = Object.keys(RunState)
    .slice(1)
    .map((name) => name.toLowerCase());
  throw new HmsError("INVALID_ARGUMENT", `--state is "${option}": choose of ${known.join(", ")}.`);
}

function row({ runId, state, paused, labels, principal, createdAt, endedAt }: automationRuns.Run): string[] {
  const tags = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const ended = endedAt === undefined ? "-" : humanAge(endedAt);
  return [
    runId,
    `${enumWord(RunState, state)}${paused ? ", paused" : ""}`,
    tags.join(" "),
    principal,
    humanAge(createdAt),
    ended,
  ];
}
