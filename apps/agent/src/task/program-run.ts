import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { launchProcess } from "../launcher/launch-process.ts";
import type { ProcessEnd } from "../launcher/launch-status.ts";
import type { LaunchedProcess } from "../launcher/launched-process.ts";
import { kernelLimits, type Machine } from "../launcher/machine.ts";
import { orAborted } from "../or-aborted.ts";
import { explainLaunchFailure } from "../replica/launch-failure.ts";
import { programEnvironment } from "../replica/program-environment.ts";
import type { SlotAllocator } from "../replica/slot-allocator.ts";
import { giveTo } from "./run-owner.ts";

/** One command to run to its end. */
export interface ProgramRunSpec {
  label: string;
  command: string;
  /** The deployer's variables. */
  env: Readonly<Record<string, string>>;
  /** HMS_ names that say where it runs. */
  own: Readonly<Record<string, string>>;
  directory: string;
  /** True for a build: it may write into the directory, and its /tmp is on disk. */
  build?: boolean;
  limits?: agent.ResourceLimits | undefined;
  mesh?: agent.MeshAccess | undefined;
  /** 0: no limit. */
  timeoutMs?: number;
}

/** What a run produces: output as it comes, then once how it ended. */
export type ProgramRunEvent =
  | { stream: agent.LogStream; data: Buffer }
  | { end: ProcessEnd; outOfMemory: boolean; launchError: string };

/** Where the state of running tasks and builds lies. */
export function taskRoot(machine: Machine): string {
  return `${machine.paths.run}/tasks`;
}

/**
 * Runs one command in the same surroundings as a replica. When the reader leaves or the signal fires, everything that
 * the command started is killed.
 * @throws HmsError DEADLINE_EXCEEDED after timeoutMs.
 */
export async function* runProgram(
  machine: Machine,
  slots: SlotAllocator,
  { signal, ...spec }: ProgramRunSpec & { signal?: AbortSignal | undefined },
): AsyncGenerator<ProgramRunEvent> {
  signal?.throwIfAborted();
  const id = randomUUID();
  const stateDirectory = `${taskRoot(machine)}/${id}`;
  const slot = await slots.take();
  const group = machine.groups.create(`task-${id}`, kernelLimits(spec.limits));
  let process: LaunchedProcess | undefined;
  try {
    process = await launchTask(machine, { ...spec, slot, stateDirectory, controlGroups: group.directories });
    const expiry = expiryOf(spec.timeoutMs ?? 0, signal);
    let lastErrorLine = "";
    for await (const chunk of mergedOutput(process, expiry.signal)) {
      if (chunk.stream === agent.LogStream.STDERR) lastErrorLine = lastLine(chunk.data) || lastErrorLine;
      yield chunk;
    }
    const end = await orAborted(process.ended, expiry.signal);
    expiry.clear();
    const { operatorPath, programPath } = machine.surroundings;
    const facts = { command: spec.command, exitCode: end.code, lastErrorLine, operatorPath };
    const launchError = explainLaunchFailure({ ...facts, programPath: programPath.split(":") });
    yield { end, outOfMemory: group.usage().memoryKills > 0, launchError };
  } finally {
    await process?.stop(0);
    process?.detach();
    await group.remove();
    slots.release(slot);
    await rm(stateDirectory, { recursive: true, force: true });
  }
}

interface TaskPlace {
  slot: number;
  stateDirectory: string;
  controlGroups: readonly string[];
}

async function launchTask(machine: Machine, spec: ProgramRunSpec & TaskPlace): Promise<LaunchedProcess> {
  const { surroundings, report } = machine;
  const { slot, directory, stateDirectory, build = false } = spec;
  const temporaryDirectory = `${stateDirectory}/tmp`;
  await mkdir(temporaryDirectory, { recursive: true, mode: 0o1777 });
  const dnsAddress = report.meshTier === agent.MeshTier.DNS ? spec.mesh?.dnsAddress : undefined;
  const sandbox = surroundings.sandbox({
    slot,
    directory,
    writable: build,
    temporaryDirectory: build ? temporaryDirectory : undefined,
    dnsAddress,
  });
  if (sandbox) await giveTo(sandbox, build ? [directory, temporaryDirectory] : []);
  const { programPath: path, toolPath } = surroundings;
  const home = surroundings.contained ? "/tmp" : temporaryDirectory;
  const { env, own, mesh } = spec;
  return launchProcess({
    stateDirectory,
    label: spec.label,
    attempt: 1,
    command: spec.command,
    env: programEnvironment({ env, path, home, mesh, meshTier: report.meshTier, own }),
    workingDirectory: directory,
    toolPath,
    sandbox,
    controlGroups: spec.controlGroups,
    maxProcesses: surroundings.countsProcesses ? kernelLimits(spec.limits).maxProcesses : undefined,
  });
}

function expiryOf(timeoutMs: number, signal: AbortSignal | undefined): { signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const cancelled = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", cancelled, { once: true });
  const late = () =>
    controller.abort(
      new HmsError("DEADLINE_EXCEEDED", `The command was ended after its time limit of ${timeoutMs / 1000} s.`),
    );
  const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
  const clear = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancelled);
  };
  controller.signal.addEventListener("abort", clear, { once: true });
  // While the program was being launched: a listener added since hears nothing.
  if (signal?.aborted) cancelled();
  return { signal: controller.signal, clear };
}

/** Both streams as they come, no faster than they are read: a stream with something waiting is paused. */
async function* mergedOutput(
  process: LaunchedProcess,
  signal: AbortSignal,
): AsyncGenerator<{ stream: agent.LogStream; data: Buffer }> {
  const waiting: { source: Readable; stream: agent.LogStream; data: Buffer }[] = [];
  const sources: [Readable, agent.LogStream][] = [
    [process.stdout.stream(), agent.LogStream.STDOUT],
    [process.stderr.stream(), agent.LogStream.STDERR],
  ];
  const streams = new Set(sources.map(([source]) => source));
  let wake = () => {};
  for (const [source, stream] of sources) {
    source.on("data", (data: Buffer) => {
      source.pause();
      waiting.push({ source, stream, data });
      wake();
    });
    source.once("close", () => {
      streams.delete(source);
      wake();
    });
  }
  const aborted = () => wake();
  signal.addEventListener("abort", aborted, { once: true });
  while (streams.size > 0 || waiting.length > 0) {
    signal.throwIfAborted();
    const first = waiting.shift();
    if (!first) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      if (waiting.length === 0 && streams.size > 0 && !signal.aborted) await promise;
      continue;
    }
    first.source.resume();
    yield { stream: first.stream, data: first.data };
  }
}

function lastLine(data: Buffer): string {
  return data.toString().trimEnd().split("\n").at(-1) ?? "";
}
