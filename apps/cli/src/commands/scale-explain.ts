import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { renderTable } from "../output/table.ts";

/** Says how a service follows its load. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const request = { service: args[0] ?? "", environment: globals.environment };
  const answer = await session().deployments.explainScaling(request, { signal });
  if (output.json) {
    output.document(toJson(deployment.ExplainScalingResponseSchema, answer, { alwaysEmitImplicit: true }));
    return ExitCode.OK;
  }
  for (const line of linesOf(answer)) output.result(line);
  return ExitCode.OK;
}

function linesOf(answer: deployment.ExplainScalingResponse): string[] {
  const { replicas, ready, min, max, modeReasons, why, limits, desired, recommended, policy } = answer;
  return [
    `${replicas} ${replicas === 1 ? "replica" : "replicas"} meant to run, ${ready} ready, between ${min} and ${max}`,
    ...modeReasons,
    ...(why === "" ? [] : [...measured(answer), `${policy} says ${recommended}: ${why}`]),
    ...limits.map((limit) => `but ${limit}`),
    ...(why === "" || desired === recommended ? [] : [`so ${desired}`]),
    ...cost(answer),
    ...lastChanges(answer),
  ];
}

function measured(answer: deployment.ExplainScalingResponse): string[] {
  const { concurrency, cpu, policy, stableConcurrency, panicConcurrency, targetConcurrency } = answer;
  const rows = [["requests at once now", one(concurrency)]];
  if (policy === "concurrency") {
    rows.push(["over 60 s", one(stableConcurrency)], ["over 6 s", one(panicConcurrency)]);
    rows.push(["aimed at for each", one(targetConcurrency)]);
  }
  rows.push(["processor time", cpu === undefined ? "not known" : `${Math.round(cpu * 100)} %`]);
  return renderTable(["LOAD", ""], rows);
}

function cost({ maxReplicaHours, replicaHoursToday }: deployment.ExplainScalingResponse): string[] {
  if (maxReplicaHours === 0) return [];
  return [`${one(replicaHoursToday)} of ${maxReplicaHours} replica hours are used today (UTC)`];
}

function lastChanges({ decisions }: deployment.ExplainScalingResponse): string[] {
  if (decisions.length === 0) return [];
  const rows = decisions.map(({ at, from, to, reason, rolloutId }) => {
    return [at ? timestampDate(at).toISOString() : "", `${from} → ${to}`, rolloutId, reason];
  });
  return renderTable(["CHANGED", "REPLICAS", "ROLLOUT", "WHY"], rows);
}

const one = (value: number) => value.toFixed(1);
