import { toJsonString } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { enumWord, humanAge } from "../../output/human.ts";
import type { Painter } from "../../output/painter.ts";
import { presentOne } from "../../output/present.ts";
import { renderTable } from "../../output/table.ts";
import { nodeStateWord } from "../../runs/node-rows.ts";
import { runClient } from "../../runs/run-client.ts";

const { RunSchema, RunState } = automationRuns;
const MOST_CHARACTERS = 100;

/** Shows a run as it stands. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const request = { runId: args[0] ?? "", environment: globals.environment };
  const { run: found } = await runClient(session()).getRun(request, { signal });
  if (found) presentOne(output, RunSchema, { message: found, lines: linesOf(found, output.paint) });
  return ExitCode.OK;
}

function linesOf(found: automationRuns.Run, paint: Painter): string[] {
  const { runId, state, paused, stopReason, principal, labels, inputs, retryOf, createdAt, endedAt } = found;
  const facts = [
    ["run", runId],
    [
      "state",
      `${enumWord(RunState, state)}${paused ? ", paused" : ""}${stopReason ? `, stopping (${stopReason})` : ""}`,
    ],
    ["for", principal],
    ["started", humanAge(createdAt)],
    ...(endedAt ? [["ended", humanAge(endedAt)]] : []),
    ...(retryOf ? [["carries on", retryOf]] : []),
    [
      "labels",
      Object.entries(labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(" "),
    ],
    ["inputs", JSON.stringify(inputs ?? {})],
  ];
  const rows = found.nodes.map((node) => [
    node.target === "" ? node.node : `  ${node.target}`,
    nodeStateWord(node.state, paint) + (node.waitsFor ? paint.dim(` for ${node.waitsFor}`) : ""),
    node.uses || node.kind,
    node.queue,
    String(node.attempt),
    saidBy(node),
  ]);
  return [
    ...facts.map(([name = "", value = ""]) => `${paint.dim(name.padEnd(10))} ${value}`),
    "",
    ...renderTable(["NODE", "STATE", "DOES", "QUEUE", "ATTEMPT", "CAME OF IT"], rows),
  ];
}

function saidBy({ output, error }: automationRuns.RunNode): string {
  const text = error ? error.message : output ? toJsonString(ValueSchema, output) : "";
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}
