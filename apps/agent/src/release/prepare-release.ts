import { rm } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Machine } from "../launcher/machine.ts";
import { LineSplitter } from "../logs/line-splitter.ts";
import { storageError } from "../replica/durable-file.ts";
import { checkEnv, checkName } from "../replica/replica-name.ts";
import type { SlotAllocator } from "../replica/slot-allocator.ts";
import { runProgram } from "../task/program-run.ts";
import { copyTree } from "./copy-tree.ts";
import type { ReleaseFacts, ReleaseStore } from "./release-store.ts";
import { sourceDirectory } from "./source-directory.ts";
import { digestSource, type SourceTree, scanSource } from "./source-tree.ts";

/** What preparing a release needs. */
export interface ReleaseWorkshop {
  machine: Machine;
  slots: SlotAllocator;
  store: ReleaseStore;
}

const LINES_IN_ERROR = 20;

/**
 * Copies a program's directory and builds it in the copy; an identical release is used again.
 * @throws HmsError INVALID_ARGUMENT, FAILED_PRECONDITION (with the build's last 20 lines), RESOURCE_EXHAUSTED.
 */
export async function* prepareRelease(
  workshop: ReleaseWorkshop,
  request: agent.PrepareReleaseRequest,
  signal?: AbortSignal,
): AsyncGenerator<agent.PrepareReleaseResponse> {
  const { machine, store } = workshop;
  checkName("environment", request.environment);
  checkName("service", request.service);
  checkEnv("env", request.env);
  const source = await sourceDirectory(machine.paths, request.sourceDirectory);
  const tree = await scanSource(source);
  for (const path of tree.skipped) yield line(`left out: ${path} is a socket, pipe or device`);
  const known = await store.find(request, await digestSource(source, tree, request.buildCommand));
  if (known) return yield released(known, true);
  const copy = await copied({ store, request, source, tree });
  if (copy.reused) return yield released(copy.facts, true);
  let sealed = false;
  try {
    if (request.buildCommand) yield* buildAsOperator(workshop, request, { ...copy, signal });
    signal?.throwIfAborted();
    await store.seal(request, copy.facts, request.buildCommand !== "").catch((error: unknown) => {
      throw error instanceof HmsError ? error : storageError(copy.directory, error);
    });
    sealed = true;
  } finally {
    if (!sealed) await store.remove(request, copy.facts.digest);
  }
  yield released(copy.facts, false);
}

async function copied(work: {
  store: ReleaseStore;
  request: agent.PrepareReleaseRequest;
  source: string;
  tree: SourceTree;
}): Promise<{ facts: ReleaseFacts; directory: string; reused: boolean }> {
  const { store, request, source, tree } = work;
  const incoming = await store.incoming(request);
  try {
    await copyTree(source, incoming, tree.entries);
    // The source may have changed while it was read: the digest is that of the copy.
    const copy = await scanSource(incoming);
    const digest = await digestSource(incoming, copy, request.buildCommand);
    const known = await store.find(request, digest);
    if (known) return { facts: known, directory: store.path(request, digest), reused: true };
    const directory = await store.place(request, digest, incoming);
    return { facts: { digest, fileCount: copy.fileCount, totalBytes: copy.totalBytes }, directory, reused: false };
  } catch (error) {
    throw error instanceof HmsError ? error : copyError(incoming, error);
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

function copyError(incoming: string, error: unknown): HmsError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== "ENOENT") return storageError(incoming, error);
  return new HmsError("ABORTED", `The source changed while it was copied: ${message}. Try again.`, { cause: error });
}

interface BuildPlace {
  directory: string;
  signal: AbortSignal | undefined;
}

/** A build reaches package registries the way the operator does; the deployer's own variables come first. */
async function* buildAsOperator(
  workshop: ReleaseWorkshop,
  request: agent.PrepareReleaseRequest,
  place: BuildPlace,
): AsyncGenerator<agent.PrepareReleaseResponse> {
  const { env, unseen } = workshop.machine.surroundings.buildVariables();
  for (const variable of unseen) yield line(`not passed on: ${variable}, which services may not read`);
  yield* build(workshop, { ...request, env: { ...env, ...request.env } }, place);
}

async function* build(
  { machine, slots }: ReleaseWorkshop,
  request: agent.PrepareReleaseRequest,
  { directory, signal }: BuildPlace,
): AsyncGenerator<agent.PrepareReleaseResponse> {
  const { environment, service, buildCommand: command, env } = request;
  const own = { HMS_SERVICE: service, HMS_ENVIRONMENT: environment };
  const label = `build ${environment}/${service}`;
  const splitters = new Map<agent.LogStream, LineSplitter>();
  for (const stream of [agent.LogStream.STDOUT, agent.LogStream.STDERR]) splitters.set(stream, new LineSplitter());
  const last: string[] = [];
  const remember = (text: string) => {
    last.push(text);
    if (last.length > LINES_IN_ERROR) last.shift();
    return line(text);
  };
  for await (const event of runProgram(machine, slots, { label, command, env, own, directory, build: true, signal })) {
    if ("data" in event) {
      for (const piece of splitters.get(event.stream)?.push(event.data) ?? []) yield remember(piece.text.toString());
      continue;
    }
    for (const splitter of splitters.values()) {
      for (const piece of splitter.flush()) yield remember(piece.text.toString());
    }
    if (event.end.code !== 0) throw buildFailure(label, event, last);
  }
}

function buildFailure(
  label: string,
  { end, launchError }: { end: { code: number; signal: string }; launchError: string },
  last: readonly string[],
): HmsError {
  const how = end.signal ? `was ended by ${end.signal}` : `exited with code ${end.code}`;
  const output = last.join("\n");
  const said = output ? `Its last lines:\n${output}` : "It wrote nothing.";
  const message = [`The ${label} ${how}.`, launchError, said].filter((part) => part !== "").join(" ");
  return new HmsError("FAILED_PRECONDITION", message, {
    reason: "BUILD_FAILED",
    metadata: { output, exitCode: String(end.code), signal: end.signal },
  });
}

function line(text: string): agent.PrepareReleaseResponse {
  return create(agent.PrepareReleaseResponseSchema, { event: { case: "outputLine", value: text } });
}

function released({ digest, fileCount, totalBytes }: ReleaseFacts, reused: boolean): agent.PrepareReleaseResponse {
  const numbers = { fileCount: BigInt(fileCount), totalBytes: BigInt(totalBytes) };
  const value = create(agent.ReleaseSchema, { digest, ...numbers, reused });
  return create(agent.PrepareReleaseResponseSchema, { event: { case: "release", value } });
}
