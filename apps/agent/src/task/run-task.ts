import { readdir, rm } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import type { MaskedStream } from "@hms/secrets";
import { adoptProcess } from "../launcher/launch-process.ts";
import type { Machine } from "../launcher/machine.ts";
import type { ReleaseStore } from "../release/release-store.ts";
import { checkCommand, checkEnv, checkName, checkSecrets, digestHex } from "../replica/replica-name.ts";
import { exitMessage } from "../replica/replica-view.ts";
import type { SlotAllocator } from "../replica/slot-allocator.ts";
import { runProgram, taskRoot } from "./program-run.ts";

/**
 * Runs one command in a release, with the limits and the mesh of a replica. When the reader leaves or the signal fires,
 * everything that it started is killed.
 * @throws HmsError INVALID_ARGUMENT, FAILED_PRECONDITION without a release, DEADLINE_EXCEEDED after timeout_ms.
 */
export async function* runTask(
  { machine, slots, store }: { machine: Machine; slots: SlotAllocator; store: ReleaseStore },
  request: agent.RunTaskRequest,
  signal?: AbortSignal,
): AsyncGenerator<agent.RunTaskResponse> {
  const { environment, service, command, env, limits, mesh } = request;
  checkName("task_id", request.taskId);
  checkName("environment", environment);
  checkName("service", service);
  digestHex("release_digest", request.releaseDigest);
  checkCommand("command", command);
  checkEnv("env", env);
  checkSecrets("", request);
  const secrets = machine.secrets.open(request);
  const directory = await store.directory(request, request.releaseDigest);
  const label = `task ${environment}/${service}/${request.taskId}`;
  const own = { HMS_SERVICE: service, HMS_ENVIRONMENT: environment, HMS_TASK: request.taskId };
  const timeoutMs = Number(request.timeoutMs);
  const spec = { label, command, env: { ...env, ...secrets.env }, own, directory, limits, mesh, timeoutMs, signal };
  const masked = new Map<agent.LogStream, MaskedStream>();
  const maskedStream = (stream: agent.LogStream) => {
    const known = masked.get(stream) ?? secrets.mask.stream();
    masked.set(stream, known);
    return known;
  };
  for await (const event of runProgram(machine, slots, spec)) {
    if ("data" in event) {
      yield* outputOf(event.stream, maskedStream(event.stream).push(event.data));
      continue;
    }
    for (const [stream, left] of masked) yield* outputOf(stream, left.end());
    const { end, outOfMemory, launchError } = event;
    const exit = { code: end.code, signal: end.signal, atMs: end.at.getTime(), outOfMemory, launchError };
    const value = exitMessage(exit) ?? create(agent.ExitStatusSchema);
    yield create(agent.RunTaskResponseSchema, { event: { case: "exit", value } });
  }
}

function* outputOf(stream: agent.LogStream, data: Buffer): Generator<agent.RunTaskResponse> {
  if (data.length === 0) return;
  const value = create(agent.OutputChunkSchema, { stream, data: new Uint8Array(data) });
  yield create(agent.RunTaskResponseSchema, { event: { case: "output", value } });
}

/** Ends the tasks and builds of an agent that died: nobody waits for them any more. */
export async function cleanTasks(machine: Machine): Promise<void> {
  const root = taskRoot(machine);
  const names = await readdir(root).catch(() => []);
  await Promise.all(
    names.map(async (name) => {
      const task = await adoptProcess(`${root}/${name}`).catch(() => undefined);
      await task?.stop(0);
      task?.detach();
      await rm(`${root}/${name}`, { recursive: true, force: true });
    }),
  );
}
