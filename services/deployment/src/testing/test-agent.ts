import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { ChangeSignal, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import { type SealingKey, serviceSecretContext } from "@hms/secrets";
import { freePort } from "@hms/testkit";

const { ReplicaState, LogStream } = agent;
const BACK_OFF_MS = 50;
const CHUNK_BYTES = 64 * 1024;

interface Kept {
  spec: agent.ReplicaSpec;
  child: ChildProcess | undefined;
  port: number;
  state: agent.ReplicaState;
  restarts: number;
  startedAt: Date;
  lastExit: agent.ExitStatus | undefined;
  wanted: boolean;
}

/** A small keeper of real processes that speaks the agent's contract, for tests: no isolation, no survival of its own. */
export class TestAgent implements AsyncDisposable {
  readonly root = mkdtempSync("/tmp/hms-test-agent-");
  /** How often each replica was asked to start, and started processes at the same time. */
  readonly starts = new Map<string, number>();
  readonly logs: agent.LogLine[] = [];
  readonly tasks: string[] = [];
  /** Opens the secrets of programs; without it they start without. */
  sealing: SealingKey | undefined;
  /** The room that it says there is. */
  freeBytes = 1n << 40n;
  readonly #replicas = new Map<string, Kept>();
  readonly #changes = new ChangeSignal();
  readonly #changed = new Map<string, number>();
  #clock = 0;

  /** The contract, to be served by a kernel. */
  get registration(): ServiceRegistration {
    const unused = () => {
      throw new HmsError("UNIMPLEMENTED", "Not part of this agent.");
    };
    return implement(agent.AgentService, {
      getStatus: () => ({ freeBytes: this.freeBytes }),
      restartComponent: unused,
      shutdown: unused,
      prepareRelease: (request) => this.#prepare(request),
      compareRelease: (request) => this.#compare(request),
      pruneReleases: (request) => this.#prune(request),
      startReplica: async ({ spec }) => ({ replica: await this.#start(spec as agent.ReplicaSpec) }),
      stopReplica: async (request) => {
        await this.#stop(request);
        return {};
      },
      watchReplicas: (_, context) => this.#watch(context.signal),
      runTask: (request) => this.#runTask(request),
      readLogs: (request) => this.#readLogs(request),
      resealReplicas: () => ({}),
    }) as ServiceRegistration;
  }

  /** Ids of replicas whose process is alive. */
  running(): string[] {
    return [...this.#replicas].filter(([, { child }]) => child !== undefined).map(([id]) => id);
  }

  pidOf(id: string): number {
    return this.#replicas.get(id)?.child?.pid ?? 0;
  }

  /** Ends a replica for good behind the platform's back. */
  lose(replicaId: string): Promise<void> {
    return this.#stop(create(agent.StopReplicaRequestSchema, { replicaId }));
  }

  /** Starts a replica that the platform did not ask for. */
  async stray(like: string, replicaId: string): Promise<void> {
    const spec = this.#replicas.get(like)?.spec;
    if (spec) await this.#start(create(agent.ReplicaSpecSchema, { ...spec, replicaId }));
  }

  /** Deletes a service's releases behind the platform's back. */
  loseRelease(digest: string): void {
    rmSync(this.#release(digest), { recursive: true, force: true });
  }

  hasRelease(digest: string): boolean {
    return existsSync(this.#release(digest));
  }

  #release(digest: string): string {
    return join(this.root, digest.slice("sha256:".length));
  }

  #note(id: string): void {
    this.#clock += 1;
    this.#changed.set(id, this.#clock);
    this.#changes.notify();
  }

  #compare({ sourceDirectory, buildCommand, digest: before }: agent.CompareReleaseRequest) {
    return { digest: digestOf(sourceDirectory, buildCommand), releaseFound: this.hasRelease(before) };
  }

  async *#prepare({ sourceDirectory, buildCommand, env }: agent.PrepareReleaseRequest) {
    const files = readdirSync(sourceDirectory);
    const digest = digestOf(sourceDirectory, buildCommand);
    const directory = this.#release(digest);
    const reused = existsSync(directory);
    if (!reused) {
      cpSync(sourceDirectory, directory, { recursive: true });
      if (buildCommand) {
        const { code, output } = await this.#command(buildCommand, { cwd: directory, env });
        for (const line of output.split("\n").filter(Boolean)) {
          yield { event: { case: "outputLine" as const, value: line } };
        }
        if (code !== 0) {
          rmSync(directory, { recursive: true });
          throw new HmsError("FAILED_PRECONDITION", `The build command ended with exit code ${code}.`);
        }
      }
    }
    const release = { digest, fileCount: BigInt(files.length), totalBytes: 0n, reused };
    yield { event: { case: "release" as const, value: create(agent.ReleaseSchema, release) } };
  }

  #prune({ keepDigests }: agent.PruneReleasesRequest) {
    const used = [...this.#replicas.values()].map(({ spec }) => spec.releaseDigest);
    const kept = new Set([...keepDigests, ...used].map((digest) => digest.slice("sha256:".length)));
    const gone = readdirSync(this.root).filter((name) => !kept.has(name));
    for (const name of gone) rmSync(join(this.root, name), { recursive: true });
    return { removedDigests: gone.map((name) => `sha256:${name}`) };
  }

  #command(command: string, { cwd, env }: { cwd: string; env: Record<string, string> }) {
    return new Promise<{ code: number; output: string }>((resolve) => {
      const child = spawn("/bin/sh", ["-c", command], { cwd, env: { PATH: pathWithNode(), ...env } });
      let output = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
      child.on("close", (code) => resolve({ code: code ?? -1, output }));
    });
  }

  async #start(spec: agent.ReplicaSpec): Promise<agent.Replica> {
    const id = spec.replicaId;
    this.starts.set(id, (this.starts.get(id) ?? 0) + 1);
    let kept = this.#replicas.get(id);
    if (kept === undefined) {
      if (!this.hasRelease(spec.releaseDigest)) {
        throw new HmsError("FAILED_PRECONDITION", "The release is missing.", { reason: "RELEASE_MISSING" });
      }
      kept = {
        spec,
        child: undefined,
        port: 0,
        state: ReplicaState.STARTING,
        restarts: 0,
        startedAt: new Date(),
        lastExit: undefined,
        wanted: true,
      };
      this.#replicas.set(id, kept);
      kept.port = await freePort();
      this.#launch(kept);
    }
    return message(kept);
  }

  #launch(kept: Kept): void {
    const { spec } = kept;
    const own = { PORT: String(kept.port), HMS_REPLICA: spec.replicaId, PATH: pathWithNode() };
    const child = spawn("/bin/sh", ["-c", spec.command], {
      cwd: this.#release(spec.releaseDigest),
      env: { ...spec.env, ...this.#secretsOf(spec), ...own },
      detached: true,
    });
    kept.child = child;
    kept.state = ReplicaState.RUNNING;
    kept.startedAt = new Date();
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => this.#log(spec, data.toString()));
    }
    child.on("close", (code, signal) => this.#ended(kept, code, signal));
    this.#note(spec.replicaId);
  }

  #log({ replicaId, revision }: agent.ReplicaSpec, text: string): void {
    for (const line of text.split("\n").filter(Boolean)) {
      const stream = LogStream.STDOUT;
      const time = timestampFromDate(new Date());
      this.logs.push(create(agent.LogLineSchema, { replicaId, revision, time, stream, text: line }));
    }
  }

  #ended(kept: Kept, code: number | null, signal: string | null): void {
    kept.child = undefined;
    const exitedAt = timestampFromDate(new Date());
    kept.lastExit = create(agent.ExitStatusSchema, { code: code ?? -1, signal: signal ?? "", exitedAt });
    if (kept.wanted) {
      kept.state = ReplicaState.BACKING_OFF;
      kept.restarts += 1;
      setTimeout(() => kept.wanted && this.#launch(kept), BACK_OFF_MS * kept.restarts);
    }
    this.#note(kept.spec.replicaId);
  }

  async #stop({ replicaId, deleteLogs }: agent.StopReplicaRequest): Promise<void> {
    const kept = this.#replicas.get(replicaId);
    if (kept) {
      kept.wanted = false;
      const { child } = kept;
      if (child?.pid && kept.child) {
        kept.state = ReplicaState.STOPPING;
        this.#note(replicaId);
        const closed = once(child, "close");
        process.kill(-child.pid, "SIGTERM");
        const kill = setTimeout(() => child.pid && process.kill(-child.pid, "SIGKILL"), Number(kept.spec.stopGraceMs));
        if (kept.child) await closed;
        clearTimeout(kill);
      }
      this.#replicas.delete(replicaId);
      this.#note(replicaId);
    }
    if (!deleteLogs) return;
    const others = this.logs.filter((line) => line.replicaId !== replicaId);
    this.logs.splice(0, this.logs.length, ...others);
  }

  async *#watch(signal: AbortSignal) {
    let seen = this.#clock;
    for (const kept of this.#replicas.values()) yield { replica: message(kept) };
    yield { synced: true };
    for (;;) {
      const change = this.#changes.next(signal);
      change.catch(() => {});
      const news = [...this.#changed].filter(([, at]) => at > seen);
      seen = this.#clock;
      for (const [id] of news) {
        const kept = this.#replicas.get(id);
        yield kept
          ? { replica: message(kept) }
          : { replica: create(agent.ReplicaSchema, { spec: { replicaId: id } }), removed: true };
      }
      if (news.length === 0) await change;
    }
  }

  #secretsOf(spec: Pick<agent.ReplicaSpec, "environment" | "secretVariables" | "secrets">): Record<string, string> {
    const { environment } = spec;
    const open = (name: string) => {
      const { version = 0n, sealed = new Uint8Array() } = spec.secrets.find((secret) => secret.name === name) ?? {};
      const context = serviceSecretContext({ environment, name, version: Number(version) });
      return this.sealing?.open(sealed, context).toString() ?? "";
    };
    const textOf = ({ piece }: agent.SecretVariablePiece) =>
      piece.case === "secret" ? open(piece.value) : (piece.value ?? "");
    return Object.fromEntries(spec.secretVariables.map(({ name, pieces }) => [name, pieces.map(textOf).join("")]));
  }

  async *#runTask(request: agent.RunTaskRequest) {
    const { command, releaseDigest, taskId } = request;
    const env = { ...request.env, ...this.#secretsOf(request) };
    if (!this.hasRelease(releaseDigest)) {
      throw new HmsError("FAILED_PRECONDITION", "The release is missing.", { reason: "RELEASE_MISSING" });
    }
    this.tasks.push(taskId);
    const { code, output } = await this.#command(command, { cwd: this.#release(releaseDigest), env });
    const all = new TextEncoder().encode(output);
    for (let from = 0; from < all.length; from += CHUNK_BYTES) {
      const data = all.subarray(from, from + CHUNK_BYTES);
      const chunk = create(agent.OutputChunkSchema, { stream: LogStream.STDOUT, data });
      yield { event: { case: "output" as const, value: chunk } };
    }
    yield { event: { case: "exit" as const, value: create(agent.ExitStatusSchema, { code }) } };
  }

  async *#readLogs({ replicaId, service, tail }: agent.ReadLogsRequest) {
    const inService = (id: string) => id.split("/")[1] === service;
    const lines = this.logs.filter((line) => (replicaId ? line.replicaId === replicaId : inService(line.replicaId)));
    yield { lines: tail > 0 ? lines.slice(-tail) : lines };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ids = [...this.#replicas.keys()];
    await Promise.all(ids.map((replicaId) => this.#stop(create(agent.StopReplicaRequestSchema, { replicaId }))));
    rmSync(this.root, { recursive: true, force: true });
  }
}

function digestOf(sourceDirectory: string, buildCommand: string): string {
  const hash = createHash("sha256").update(buildCommand);
  for (const file of readdirSync(sourceDirectory).sort()) {
    hash.update(file).update(readFileSync(join(sourceDirectory, file)));
  }
  return `sha256:${hash.digest("hex")}`;
}

/** The node that runs the tests runs the test programs, too. */
function pathWithNode(): string {
  return `${process.execPath.slice(0, process.execPath.lastIndexOf("/"))}:/usr/bin:/bin`;
}

function message(kept: Kept): agent.Replica {
  const { spec, child, port, state, restarts, startedAt, lastExit } = kept;
  return create(agent.ReplicaSchema, {
    spec,
    state,
    pid: BigInt(child?.pid ?? 0),
    port,
    restarts,
    startedAt: timestampFromDate(startedAt),
    ...(lastExit ? { lastExit } : {}),
  });
}
