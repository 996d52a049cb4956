import { rm } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { HostEnvironment, InstanceNetwork, InstancePaths } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { IsolationReport } from "../launcher/isolation-probe.ts";
import { adoptProcess } from "../launcher/launch-process.ts";
import { createMachine, type Machine } from "../launcher/machine.ts";
import { LogStore } from "../logs/log-store.ts";
import type { LogRetention } from "../logs/log-writer.ts";
import type { ReadRate } from "../logs/read-budget.ts";
import { readLogs } from "../logs/read-logs.ts";
import { orAborted } from "../or-aborted.ts";
import { compareRelease } from "../release/compare-release.ts";
import { prepareRelease } from "../release/prepare-release.ts";
import { ReleaseStore } from "../release/release-store.ts";
import { cleanTasks, runTask } from "../task/run-task.ts";
import { MeasureLoop } from "./measure-loop.ts";
import { isSameSpec } from "./program-secrets.ts";
import { DEFAULT_GRACE_MS, Replica } from "./replica.ts";
import { ReplicaJournal, type ReplicaLife, type ReplicaRecord } from "./replica-journal.ts";
import {
  checkCommand,
  checkEnv,
  checkName,
  checkSecrets,
  digestHex,
  parseReplicaId,
  replicaKey,
} from "./replica-name.ts";
import { strayStateDirectories } from "./replica-program.ts";
import { ReplicaWatch } from "./replica-watch.ts";
import { ServiceSockets } from "./service-sockets.ts";
import { SlotAllocator } from "./slot-allocator.ts";

/** What a keeper is made for. */
export interface ReplicaKeeperOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  host: HostEnvironment;
  /** What probeIsolation answered. */
  report: IsolationReport;
  /** How much each replica's log keeps; default 5 files of 10 MiB. */
  retention?: Partial<LogRetention>;
  /** How fast each replica's output is read; default 8 MiB/s. */
  readRate?: Partial<ReadRate>;
  /** Told what the operator should know: spoilt files, failed restarts. */
  warn?: (message: string) => void;
}

/** Opens the keeper: takes over what runs, and begins to start what should run and to end what was being ended. */
export async function openReplicaKeeper(options: ReplicaKeeperOptions): Promise<ReplicaKeeper> {
  const keeper = new ReplicaKeeper(options);
  await keeper.open();
  return keeper;
}

/** Keeps the replicas of one installation on this machine: the part of AgentService that is about programs. */
export class ReplicaKeeper {
  readonly #machine: Machine;
  readonly #warn: (message: string) => void;
  readonly #readRate: Partial<ReadRate>;
  readonly #journal: ReplicaJournal;
  readonly #logs: LogStore;
  readonly #releases: ReleaseStore;
  readonly #slots: SlotAllocator;
  readonly #replicas = new Map<string, Replica>();
  readonly #watch = new ReplicaWatch();
  readonly #measuring = new MeasureLoop(() => this.#replicas.values());
  readonly #starting = new Map<string, Promise<Replica>>();
  readonly #stopping = new Map<string, Promise<void>>();
  #suspended = false;
  #resealing: Promise<unknown> = Promise.resolve();
  /** One preparation at a time per service: two of the same source would build in one directory. */
  readonly #preparing = new Map<string, Promise<void>>();

  readonly #sockets: ServiceSockets;

  constructor(options: ReplicaKeeperOptions) {
    const { data } = options.paths;
    this.#machine = createMachine(options);
    this.#warn = options.warn ?? (() => {});
    this.#sockets = new ServiceSockets(options.paths, this.#warn);
    this.#readRate = options.readRate ?? {};
    this.#journal = new ReplicaJournal(`${data}/agent/replicas`);
    this.#logs = new LogStore(`${data}/logs`, options.retention);
    this.#releases = new ReleaseStore(`${data}/releases`);
    this.#slots = new SlotAllocator(options.network.replicaPortBase);
  }

  /** Called once by openReplicaKeeper. */
  async open(): Promise<void> {
    this.#sockets.open();
    const { records, spoilt } = await this.#journal.open();
    for (const { path, reason } of spoilt)
      this.#warn(`A replica's file could not be read and was set aside as ${path}: ${reason}`);
    for (const { record, life } of records) {
      if (this.#slots.reserve(record.slot)) this.#add(record, life);
      else this.#warn(`${record.spec.replicaId} is left alone: its port ${record.slot} is another replica's.`);
    }
    await Promise.all([cleanTasks(this.#machine), this.#releases.clean()]);
    this.#machine.groups.removeExcept(new Set([...this.#replicas.keys()].map(replicaKey)));
    await Promise.all([...this.#replicas.values()].map((replica) => this.#resume(replica)));
    this.#measuring.start();
    for (const stateDirectory of await strayStateDirectories(this.#machine, this.#replicas)) {
      void this.#endStray(stateDirectory);
    }
  }

  /** Makes an immutable copy of a service's directory and builds it; the last message is the release. */
  async *prepareRelease(
    request: agent.PrepareReleaseRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<agent.PrepareReleaseResponse> {
    const key = `${checkName("environment", request.environment)}/${checkName("service", request.service)}`;
    const turn = Promise.withResolvers<void>();
    const before = this.#preparing.get(key);
    const mine = (before ?? Promise.resolve()).then(() => turn.promise);
    this.#preparing.set(key, mine);
    try {
      if (before) await orAborted(before, signal);
      yield* prepareRelease(this.#workshop, request, signal);
    } finally {
      turn.resolve();
      // Whoever leaves while waiting hands on that turn, which is not over yet.
      void mine.then(() => {
        if (this.#preparing.get(key) === mine) this.#preparing.delete(key);
      });
    }
  }

  /** Compares a program's directory with a release of it. */
  compareRelease(request: agent.CompareReleaseRequest): Promise<agent.CompareReleaseResponse> {
    checkName("environment", request.environment);
    checkName("service", request.service);
    return compareRelease(this.#workshop, request);
  }

  /** Deletes a service's releases that no replica uses and that are not to be kept. */
  async pruneReleases(request: agent.PruneReleasesRequest): Promise<agent.PruneReleasesResponse> {
    checkName("environment", request.environment);
    checkName("service", request.service);
    const kept = new Set(request.keepDigests);
    for (const digest of kept) digestHex("keep_digests", digest);
    for (const { record } of this.#replicas.values()) {
      const { environment, service, releaseDigest } = record.spec;
      if (environment === request.environment && service === request.service) kept.add(releaseDigest);
    }
    const removedDigests = (await this.#releases.list(request)).filter((digest) => !kept.has(digest));
    for (const digest of removedDigests) await this.#releases.remove(request, digest);
    return create(agent.PruneReleasesResponseSchema, { removedDigests });
  }

  /**
   * Starts a replica and keeps it running. Answers when it runs, or when it is known why it does not yet.
   * @throws HmsError INVALID_ARGUMENT; ALREADY_EXISTS if the id is taken by another spec; FAILED_PRECONDITION without a
   * release; RESOURCE_EXHAUSTED if the disk or the port range is full; UNAVAILABLE if the agent is stopping.
   */
  async startReplica(request: agent.StartReplicaRequest): Promise<agent.StartReplicaResponse> {
    const spec = checkedSpec(request.spec);
    const { replicaId } = spec;
    for (let other = this.#starting.get(replicaId); other; other = this.#starting.get(replicaId)) {
      await other.catch(() => {});
    }
    const known = this.#replicas.get(replicaId);
    if (known) return create(agent.StartReplicaResponseSchema, { replica: sameReplica(known, spec) });
    if (this.#suspended) {
      const why = "The agent is stopping, so it starts nothing more; try again when it is back.";
      throw new HmsError("UNAVAILABLE", why, { reason: "SERVER_STOPPING" });
    }
    const work = this.#startNew(spec).finally(() => this.#starting.delete(replicaId));
    this.#starting.set(replicaId, work);
    return create(agent.StartReplicaResponseSchema, { replica: (await work).view });
  }

  async #startNew(spec: agent.ReplicaSpec): Promise<Replica> {
    await this.#releases.directory(spec, spec.releaseDigest);
    const record = { spec, slot: await this.#slots.take(), stopping: false };
    const replica = this.#add(record, undefined);
    try {
      await this.#journal.add(record);
    } catch (error) {
      this.#forget(replica);
      throw error;
    }
    await replica.start();
    return replica;
  }

  /**
   * Ends a replica and forgets it. Answers when nothing of it is left; a replica that is not there has been stopped.
   * Asked again with no grace while it is being ended, it is killed at once.
   */
  async stopReplica(request: agent.StopReplicaRequest): Promise<agent.StopReplicaResponse> {
    const { replicaId, graceMs } = request;
    const { environment, service, revision } = parseReplicaId(replicaId);
    const replica = this.#replicas.get(replicaId);
    if (replica) await this.#stopOnce(replica, graceMs === undefined ? undefined : Number(graceMs));
    if (request.deleteLogs) await this.#logs.remove(replicaId);
    const spec = { replicaId, environment, service, revision };
    const view = replica?.view ?? create(agent.ReplicaSchema, { spec, state: agent.ReplicaState.STOPPED });
    return create(agent.StopReplicaResponseSchema, { replica: view });
  }

  async #stopOnce(replica: Replica, graceMs: number | undefined): Promise<void> {
    const { replicaId } = replica.record.spec;
    const before = this.#stopping.get(replicaId);
    if (before) {
      if (graceMs === 0) await replica.kill();
      return before;
    }
    const work = this.#stopAndForget(replica, graceMs).finally(() => this.#stopping.delete(replicaId));
    this.#stopping.set(replicaId, work);
    return work;
  }

  async #stopAndForget(replica: Replica, graceMs: number | undefined): Promise<void> {
    // Else a spec that is just being written would withdraw what is said here.
    await this.#resealing;
    await this.#journal.markStopping(replica.record.spec.replicaId);
    replica.record.stopping = true;
    await replica.stop(graceMs);
    await this.#bury(replica);
  }

  /** Sends every replica as it is now, then every change. */
  watchReplicas(
    request: agent.WatchReplicasRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<agent.WatchReplicasResponse> {
    const current = () => [...this.#replicas.values()].map((replica) => replica.view);
    return this.#watch.watch(request, current, signal);
  }

  /** Runs one command to its end in a replica's surroundings; the last message says how it ended. */
  runTask(request: agent.RunTaskRequest, signal?: AbortSignal): AsyncGenerator<agent.RunTaskResponse> {
    return runTask(this.#workshop, request, signal);
  }

  /** Seals anew what a replaced key has sealed of the replicas' secrets. */
  async resealReplicas(): Promise<agent.ResealReplicasResponse> {
    const work = this.#resealing.then(() => this.#resealAll());
    this.#resealing = work.catch(() => {});
    return create(agent.ResealReplicasResponseSchema, { resealed: await work });
  }

  async #resealAll(): Promise<number> {
    let resealed = 0;
    let failure: unknown;
    for (const [replicaId, replica] of this.#replicas) {
      // What is written down at this moment is sealed by the new key, or sealed anew before the old one is forgotten.
      if (this.#starting.has(replicaId) || this.#stopping.has(replicaId)) continue;
      try {
        resealed += await replica.reseal();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return resealed;
  }

  /** Sends stored log lines, oldest first, and follows them if asked. */
  readLogs(request: agent.ReadLogsRequest, signal?: AbortSignal): AsyncGenerator<agent.ReadLogsResponse> {
    return readLogs(this.#logs, request, signal);
  }

  /** Ends every replica and what it started, but still wants them: the next start of the agent starts them again. */
  async suspend(): Promise<void> {
    this.#suspended = true;
    this.#measuring.stop();
    this.#sockets.close();
    // What is being started now is suspended with the others.
    await Promise.allSettled(this.#starting.values());
    await Promise.all([...this.#replicas.values()].map((replica) => replica.suspend()));
    this.#machine.groups.close();
    await this.#closeLogs();
  }

  /** Leaves every replica running, for the next agent to adopt. */
  async detach(): Promise<void> {
    this.#measuring.stop();
    this.#sockets.close();
    await Promise.all([...this.#replicas.values()].map((replica) => replica.detach()));
    await this.#closeLogs();
  }

  get #workshop() {
    return { machine: this.#machine, slots: this.#slots, store: this.#releases };
  }

  async #closeLogs(): Promise<void> {
    await Promise.all([...this.#replicas.keys()].map((replicaId) => this.#logs.close(replicaId)));
  }

  #add(record: ReplicaRecord, life: ReplicaLife | undefined): Replica {
    const { spec } = record;
    const replica: Replica = new Replica(record, life, {
      machine: this.#machine,
      journal: this.#journal,
      log: this.#logs.writer(spec.replicaId),
      readRate: this.#readRate,
      releaseDirectory: () => this.#releases.directory(spec, spec.releaseDigest),
      changed: () => this.#watch.publish(replica.view),
    });
    this.#replicas.set(spec.replicaId, replica);
    this.#measuring.reschedule();
    return replica;
  }

  async #resume(replica: Replica): Promise<void> {
    await replica.resume();
    if (!replica.record.stopping) return;
    // The grace period of one replica is nothing that others should wait for.
    this.#stopOnce(replica, undefined).catch((error: unknown) => {
      this.#warn(`${replica.record.spec.replicaId} could not be stopped: ${HmsError.from(error).message}`);
    });
  }

  /** What runs without a readable spec cannot be kept: nobody knows what it should be. */
  async #endStray(stateDirectory: string): Promise<void> {
    const stray = await adoptProcess(stateDirectory);
    if (stray) this.#warn(`What runs in ${stateDirectory} belongs to no known replica and is ended.`);
    await stray?.stop(DEFAULT_GRACE_MS);
    stray?.detach();
    await rm(stateDirectory, { recursive: true, force: true });
  }

  async #bury(replica: Replica): Promise<void> {
    const { environment, service, replicaId } = replica.record.spec;
    await this.#journal.forget(replicaId);
    this.#forget(replica);
    await replica.cleanUp();
    await this.#logs.close(replicaId);
    await this.#logs.prune(environment, service, (each) => this.#replicas.has(each));
  }

  #forget(replica: Replica): void {
    const { replicaId } = replica.record.spec;
    if (this.#replicas.get(replicaId) !== replica) return;
    this.#replicas.delete(replicaId);
    this.#slots.release(replica.record.slot);
    this.#watch.publish(replica.view, true);
  }
}

function checkedSpec(spec: agent.ReplicaSpec | undefined): agent.ReplicaSpec {
  const name = parseReplicaId(spec?.replicaId ?? "", "spec.replica_id");
  if (!spec) throw new HmsError("INVALID_ARGUMENT", "spec: say what to run.");
  checkName("spec.environment", spec.environment);
  checkName("spec.service", spec.service);
  const { environment, service, revision } = spec;
  if (name.environment !== environment || name.service !== service || name.revision !== revision) {
    const description = `"${spec.replicaId}" does not belong to revision ${revision} of ${service} in ${environment}.`;
    const fieldViolations = [{ field: "spec.replica_id", description }];
    throw new HmsError("INVALID_ARGUMENT", `spec.replica_id: ${description}`, { fieldViolations });
  }
  digestHex("spec.release_digest", spec.releaseDigest);
  checkCommand("spec.command", spec.command);
  checkEnv("spec.env", spec.env);
  checkSecrets("spec.", spec);
  return spec;
}

function sameReplica(known: Replica, spec: agent.ReplicaSpec): agent.Replica {
  if (known.record.stopping) {
    throw new HmsError("FAILED_PRECONDITION", `${spec.replicaId} is being stopped: wait until it is gone.`);
  }
  if (isSameSpec(known.record.spec, spec)) return known.view;
  throw new HmsError(
    "ALREADY_EXISTS",
    `${spec.replicaId} runs with another spec: give the new replica an id of its own, or stop the old one first.`,
  );
}
