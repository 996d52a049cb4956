import { setTimeout as pause } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { agent, deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { healthWord } from "../output/health.ts";
import { enumWord, humanAge, humanBytes } from "../output/human.ts";
import { renderTable } from "../output/table.ts";
import { outsideAddresses, reachSentence } from "../outside-addresses.ts";
import { parseDuration } from "../parse-option.ts";

/** Shows the platform, or one service with its replicas; with --wait only once it is healthy. */
export async function run(invocation: Invocation): Promise<number> {
  const service = invocation.args[0];
  return service === undefined ? platform(invocation) : oneService(invocation, service);
}

async function platform({ session, output, signal }: Invocation): Promise<number> {
  const status = await session().agent.getStatus({}, { signal, timeoutMs: 5000 });
  if (output.json) {
    output.document(toJson(agent.GetStatusResponseSchema, status, { alwaysEmitImplicit: true }));
    return ExitCode.OK;
  }
  output.result(
    `isolation: ${enumWord(agent.Isolation, status.isolation)}${status.isolationReason ? ` (${status.isolationReason})` : ""}`,
  );
  output.result(
    `mesh names: ${status.meshTier === agent.MeshTier.DNS ? "by DNS" : `by proxy variables (${status.meshTierReason})`}`,
  );
  output.result(reachSentence(outsideAddresses(session().paths)));
  const rows = status.components.map((component) => [
    component.name,
    enumWord(agent.ReplicaState, component.state),
    String(component.pid),
    String(component.restarts),
    humanBytes(component.memoryBytes),
    humanAge(component.startedAt),
  ]);
  for (const line of renderTable(["PROCESS", "STATE", "PID", "RESTARTS", "MEMORY", "STARTED"], rows))
    output.result(line);
  return ExitCode.OK;
}

const { HEALTHY, STOPPED, ASLEEP } = deployment.ServiceHealth;
/** What may stay so for good. */
const SETTLED: ReadonlySet<deployment.ServiceHealth> = new Set([HEALTHY, STOPPED, ASLEEP]);

const settled = ({ health, rolloutId }: deployment.ServiceSummary) => rolloutId === "" && SETTLED.has(health);

async function oneService(invocation: Invocation, service: string): Promise<number> {
  const { options, globals, session, output, signal } = invocation;
  const request = { service, environment: globals.environment };
  const until = Date.now() + parseDuration("--timeout", String(options.timeout));
  let answer = await session().deployments.getService(request, { signal });
  while (options.wait === true && answer.service && !settled(answer.service)) {
    if (Date.now() > until) {
      show(answer, output);
      throw new HmsError(
        "DEADLINE_EXCEEDED",
        `${service} was not healthy within ${options.timeout}. Its logs: hms-sys logs ${service}`,
      );
    }
    await pause(250, undefined, { signal });
    answer = await session().deployments.getService(request, { signal });
  }
  show(answer, output);
  return ExitCode.OK;
}

function show(answer: deployment.GetServiceResponse, output: Invocation["output"]): void {
  const { service, replicas, releaseDigest } = answer;
  if (output.json) output.document(toJson(deployment.GetServiceResponseSchema, answer, { alwaysEmitImplicit: true }));
  if (output.json || service === undefined) return;
  const { paint } = output;
  if (answer.notice !== "") output.note(`${paint.warn("!")} ${answer.notice}`);
  output.result(
    `${paint.strong(service.name)} (${service.environment}): ${healthWord(service.health, paint)}, ${service.replicasReady} of ${service.replicasWanted} replicas ready`,
  );
  output.result(
    `revision ${service.revision}, version ${service.version}, release ${releaseDigest.slice(0, 19)}, deployed ${humanAge(service.deployedAt)}`,
  );
  for (const url of service.urls) output.result(url);
  if (service.rolloutId)
    output.result(`rollout ${service.rolloutId}: ${enumWord(deployment.RolloutState, service.rolloutState)}`);
  if (replicas.length === 0) {
    output.result("No replica runs.");
    return;
  }
  const head = ["REPLICA", "STATE", "READY", "PID", "PORT", "RESTARTS", "CPU", "MEMORY", "STARTED", "LAST PROBE"];
  const lines = renderTable(
    head,
    replicas.map((replica) => replicaRow(replica, paint)),
  );
  for (const line of lines) output.result(line);
}

function replicaRow(
  { replica, ready, lastProbe }: deployment.ReplicaStatus,
  paint: Invocation["output"]["paint"],
): string[] {
  return [
    replica?.spec?.replicaId ?? "",
    enumWord(agent.ReplicaState, replica?.state ?? 0),
    ready ? paint.good("yes") : paint.warn("no"),
    String(replica?.pid ?? 0),
    String(replica?.port ?? 0),
    String(replica?.restarts ?? 0),
    replica?.usage ? `${(replica.usage.cpuMillicores / 10).toFixed(1)} %` : "-",
    replica?.usage ? humanBytes(replica.usage.memoryBytes) : "-",
    humanAge(replica?.startedAt),
    lastProbe,
  ];
}
