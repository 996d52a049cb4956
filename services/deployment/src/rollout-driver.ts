import { type agent, deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { surgeReplicas } from "@hms/manifest";
import { RolloutFailedError } from "./errors.ts";
import type { HealthMonitor } from "./health/health-monitor.ts";
import type { DeploymentRuntime } from "./ports.ts";
import type { ReplicaRecord, RevisionRecord, RolloutRecord, ServiceKey } from "./records.ts";
import { healthRule, newReplicaId, replicaSpec, resourceLimits } from "./replica-spec.ts";
import { nextStep, type RolloutStep, type RolloutTarget } from "./rollout-plan.ts";
import type { RolloutReport, StepReport } from "./rollout-report.ts";
import type { DeploymentStore } from "./store.ts";
import type { Traffic } from "./traffic.ts";
import { verifyReplicas } from "./verify-replicas.ts";

const { RolloutState } = deployment;

/** What drives a rollout. */
export interface DriverParts {
  store: DeploymentStore;
  runtime: DeploymentRuntime;
  traffic: Traffic;
  health: HealthMonitor;
}

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`;

/** Brings a service from what is to a target, step by step; each step is on disk before it is done. */
export class RolloutDriver {
  readonly #parts: DriverParts;
  readonly #report: RolloutReport;
  readonly #key: ServiceKey;

  constructor(parts: DriverParts, report: RolloutReport) {
    this.#parts = parts;
    this.#report = report;
    const { environment, service } = report.rollout;
    this.#key = { environment, service };
  }

  get #rollout(): RolloutRecord {
    return this.#report.rollout;
  }

  /** Gives a deploy its release and its revision; a deploy that has one is left as it is. */
  async prepare(signal: AbortSignal): Promise<void> {
    const { manifest, sourceDirectory, revision } = this.#rollout;
    if (revision !== 0n || manifest === undefined) return;
    await this.#report.step(RolloutState.PREPARED, "Preparing the release", async (step) => {
      const { environment, service } = this.#key;
      const request = {
        environment,
        service,
        sourceDirectory: sourceDirectory ?? "",
        buildCommand: manifest.run.build ?? "",
        env: manifest.env,
      };
      const release = await this.#release(request, step, signal);
      this.#rollout.revision = await this.#parts.store.addRevision(this.#rollout, manifest, release.digest);
      const reuse = release.reused ? ", as before" : "";
      return `Release prepared (${count(Number(release.fileCount), "file")}, ${release.digest.slice(0, 15)}…${reuse}) as revision ${this.#rollout.revision}`;
    });
  }

  async #release(
    request: Parameters<DeploymentRuntime["prepareRelease"]>[0],
    step: StepReport,
    signal: AbortSignal,
  ): Promise<agent.Release> {
    try {
      for await (const { event } of this.#parts.runtime.prepareRelease(request, signal)) {
        if (event.case === "outputLine") await step.output(event.value);
        if (event.case === "release") return event.value;
      }
    } catch (error) {
      const { code, message } = HmsError.from(error);
      if (code === "UNAVAILABLE") throw error;
      throw new RolloutFailedError({
        reason: message,
        remedy: "Mend run.build or the program's directory, then deploy again.",
      });
    }
    throw new HmsError("UNAVAILABLE", "The runtime ended before the release was ready.");
  }

  /** Runs `run.release` once, before the first traffic. */
  async runReleaseCommand(revision: RevisionRecord, signal: AbortSignal): Promise<void> {
    const command = revision.manifest.run.release;
    if (
      command === undefined ||
      this.#rollout.releaseCommandDone ||
      this.#rollout.kind !== deployment.RolloutKind.DEPLOY
    )
      return;
    await this.#report.step(RolloutState.PREPARED, "Running the release command", async (step) => {
      const exit = await this.#runTask({ command, revision }, step, signal);
      if (exit.code !== 0) {
        const how = exit.launchError || exit.signal || `exit code ${exit.code}`;
        throw new RolloutFailedError({
          reason: `The release command ended with ${how}.`,
          remedy: "Mend run.release, then deploy again; no traffic was shifted.",
          exit,
        });
      }
      await this.#parts.store.rollouts.set(this.#rollout.rolloutId, { releaseCommandDone: true });
      return "Release command done";
    });
  }

  async #runTask(
    { command, revision }: { command: string; revision: RevisionRecord },
    step: StepReport,
    signal: AbortSignal,
  ): Promise<agent.ExitStatus> {
    const { environment, service } = this.#key;
    const mesh = await this.#parts.traffic.access(environment);
    const { manifest, releaseDigest } = revision;
    const request = {
      taskId: `release-${this.#rollout.rolloutId}`,
      environment,
      service,
      releaseDigest,
      command,
      env: manifest.env,
      limits: resourceLimits(manifest),
      mesh,
    };
    for await (const { event } of this.#parts.runtime.runTask(request, signal)) {
      if (event.case === "output") await step.output(Buffer.from(event.value.data).toString().trimEnd());
      if (event.case === "exit") return event.value;
    }
    throw new HmsError("UNAVAILABLE", "The runtime ended before the release command did.");
  }

  /** Takes step after step until the target is reached. */
  async converge(
    target: Omit<RolloutTarget, "batch">,
    before: RevisionRecord | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const revision = await this.#parts.store.revision(this.#key, target.revision);
    const batch = revision ? surgeReplicas(revision.manifest.rollout.maxSurge, target.wanted) : 1;
    for (;;) {
      const step = nextStep(await this.#parts.store.replicas(this.#key), { ...target, batch });
      if (step.kind === "done") return;
      await this.#take(step, { revision, before, signal, wanted: target.wanted });
    }
  }

  async #take(step: Exclude<RolloutStep, { kind: "done" }>, scene: Scene): Promise<void> {
    switch (step.kind) {
      case "start":
        return this.#start(step.count, scene);
      case "shift":
        return this.#shift(step, scene);
      case "retire":
        return this.#retire(step.ids);
      case "drain":
        return this.#drain(step.ids, scene);
      case "abandon":
        return this.#abandon(step.ids);
    }
  }

  async #start(wanted: number, { revision }: Scene): Promise<void> {
    if (revision === undefined)
      throw new RolloutFailedError({
        reason: "The revision to start is not known any more.",
        remedy: "Deploy the manifest again.",
      });
    await this.#report.step(this.#state(RolloutState.SCALING), `Starting ${count(wanted, "replica")}`, async () => {
      const records = Array.from(
        { length: wanted },
        (): ReplicaRecord => ({
          ...this.#key,
          id: newReplicaId(this.#key, revision.revision),
          revision: revision.revision,
          rolloutId: this.#rollout.rolloutId,
          phase: "starting",
        }),
      );
      await this.#parts.store.addReplicas(records);
      await this.#launch(
        records.map(({ id }) => id),
        revision,
      );
      return `Started ${count(wanted, "replica")}`;
    });
  }

  /** Starts replicas that are on record; those that run already stay as they are. */
  async #launch(ids: readonly string[], revision: RevisionRecord): Promise<void> {
    const access = await this.#parts.traffic.access(this.#key.environment);
    await Promise.all(
      ids.map(async (id) => {
        const health = this.#parts.health.follow(id, healthRule(revision.manifest), false);
        try {
          health.observe(await this.#parts.runtime.startReplica(replicaSpec(id, revision, access)));
        } catch (error) {
          const { code, message } = HmsError.from(error);
          if (code === "UNAVAILABLE") throw error;
          throw new RolloutFailedError({
            reason: `Replica ${id} could not be started: ${message}`,
            remedy: "Mend what the message says, then deploy again.",
          });
        }
      }),
    );
  }

  async #shift({ ids, replaces }: { ids: string[]; replaces: string[] }, scene: Scene): Promise<void> {
    const { revision, before, signal } = scene;
    if (revision === undefined) return;
    await this.#report.step(
      this.#state(RolloutState.VERIFYING),
      `Waiting until ${count(ids.length, "new replica")} ${ids.length === 1 ? "is" : "are"} healthy`,
      async (step) => {
        await this.#launch(ids, revision);
        await verifyReplicas(ids, { ...this.#parts, revision, before, signal }, step);
        return `${count(ids.length, "new replica")} healthy`;
      },
    );
    await this.#report.step(this.#state(RolloutState.SHIFTING), "Shifting traffic", async () => {
      await this.#parts.store.setPhases(this.#key, {
        active: ids,
        draining: replaces,
        trafficRevision: revision.revision,
      });
      await this.#confirm(signal);
      const instead = replaces.length > 0 ? ` instead of ${count(replaces.length, "old one")}` : "";
      return `Registered in service mesh: ${count(ids.length, "replica")}${instead}`;
    });
  }

  async #confirm(signal: AbortSignal): Promise<void> {
    try {
      await this.#parts.traffic.publishAndConfirm(this.#key, signal);
    } catch (error) {
      const { code, message, details } = HmsError.from(error);
      if (details.reason !== "ROUTE_CONFLICT" && code !== "INVALID_ARGUMENT") throw error;
      throw new RolloutFailedError({
        reason: message,
        remedy: "Change the routes in the manifest, then deploy again.",
      });
    }
  }

  async #retire(ids: string[]): Promise<void> {
    await this.#report.step(
      this.#state(RolloutState.SHIFTING),
      `Taking traffic from ${count(ids.length, "replica")}`,
      async () => {
        await this.#parts.store.setPhases(this.#key, { active: [], draining: ids });
        await this.#parts.traffic.publishAndConfirm(this.#key);
        return `${count(ids.length, "replica")} out of the mesh`;
      },
    );
  }

  async #drain(ids: string[], { before, revision }: Scene): Promise<void> {
    await this.#report.step(
      this.#state(RolloutState.DRAINING),
      `Draining ${count(ids.length, "old replica")}`,
      async () => {
        await this.#parts.traffic.publishAndConfirm(this.#key);
        const { drainTimeoutMs } = (before ?? revision)?.manifest.rollout ?? { drainTimeoutMs: 30_000 };
        const left = await this.#parts.traffic.drained(ids, drainTimeoutMs);
        const cut = Object.values(left).reduce((sum, one) => sum + one, 0);
        await this.#stop(ids);
        await this.#parts.traffic.publish(this.#key);
        return `${count(ids.length, "old replica")} drained and stopped${cut > 0 ? `; ${count(cut, "request")} ran longer than ${drainTimeoutMs / 1000} s and ${cut === 1 ? "was" : "were"} cut` : ""}`;
      },
    );
  }

  async #abandon(ids: string[]): Promise<void> {
    await this.#report.step(
      this.#state(RolloutState.REVERTING),
      `Ending ${count(ids.length, "replica")} that never had traffic`,
      async () => {
        await this.#stop(ids);
        return `${count(ids.length, "replica")} that never had traffic stopped`;
      },
    );
  }

  async #stop(ids: readonly string[]): Promise<void> {
    const deleteLogs = this.#rollout.kind === deployment.RolloutKind.REMOVE;
    await Promise.all(ids.map((id) => this.#parts.runtime.stopReplica(id, { deleteLogs })));
    await this.#parts.store.removeReplicas(ids);
    for (const id of ids) this.#parts.health.forget(id);
  }

  /** Everything that happens while a rollout is undone is part of undoing it. */
  #state(usual: deployment.RolloutState): deployment.RolloutState {
    return this.#rollout.state === RolloutState.REVERTING ? RolloutState.REVERTING : usual;
  }
}

/** What a step is taken for. */
interface Scene {
  revision: RevisionRecord | undefined;
  before: RevisionRecord | undefined;
  signal: AbortSignal;
  wanted: number;
}
