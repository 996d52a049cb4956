import { setTimeout as delay } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { RolloutFailedError } from "./errors.ts";
import type { RevisionRecord, RolloutRecord, ServiceKey } from "./records.ts";
import { serviceUrls } from "./replica-spec.ts";
import { type DriverParts, RolloutDriver } from "./rollout-driver.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import { RolloutReport } from "./rollout-report.ts";

const { RolloutKind, RolloutState } = deployment;

const KEPT_REVISIONS = 5;
const LEASE_MS = 15_000;
const RENEW_MS = 5_000;
const LOCK_LOOK_MS = 200;
const AGAIN_MS = 500;

/** What runs rollouts. */
export interface RunnerParts extends DriverParts {
  journal: RolloutJournal;
  log: Logger;
  /** This server among others. */
  owner: string;
}

/** Runs rollouts from their journal to their end, one of each service at a time. */
export class RolloutRunner {
  readonly #parts: RunnerParts;
  readonly #running = new Map<string, Promise<void>>();
  readonly #end = new AbortController();

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Runs a rollout that is on record; twice is once. */
  run(rollout: RolloutRecord): void {
    if (this.#running.has(rollout.rolloutId)) return;
    const done = this.#run(rollout)
      .catch((error) => {
        if (!this.#end.signal.aborted)
          this.#parts.log.error("a rollout stopped; the next server carries it on", {
            rolloutId: rollout.rolloutId,
            error,
          });
      })
      .finally(() => this.#running.delete(rollout.rolloutId));
    this.#running.set(rollout.rolloutId, done);
  }

  async #run(rollout: RolloutRecord): Promise<void> {
    const lock = await this.#lock(rollout);
    try {
      const fresh = (await this.#parts.store.rollouts.get(rollout.rolloutId)) ?? rollout;
      await this.#locked(fresh);
      await this.#untilDone(fresh);
    } finally {
      clearInterval(lock);
      // The next server need not wait for the lease of one that stopped in good order.
      if (this.#end.signal.aborted) await this.#parts.store.rollouts.unlock(rollout.rolloutId, this.#parts.owner);
    }
  }

  /** Waits for its turn, says once for whom, and renews the lease from then on. */
  async #lock(rollout: RolloutRecord): Promise<NodeJS.Timeout> {
    const { store, owner, journal } = this.#parts;
    const { rolloutId } = rollout;
    let told = false;
    while (!(await this.#isFirst(rollout)) || !(await store.rollouts.tryLock(rolloutId, owner, LEASE_MS))) {
      const [holder] = await store.rollouts.running(rollout);
      if (!told && holder && holder.rolloutId !== rolloutId) {
        told = true;
        await journal.add(rolloutId, {
          case: "waiting",
          value: { holderRolloutId: holder.rolloutId, holderKind: holder.kind },
        });
      }
      await delay(LOCK_LOOK_MS, undefined, { signal: this.#end.signal });
    }
    return setInterval(() => void store.rollouts.tryLock(rolloutId, owner, LEASE_MS).catch(() => {}), RENEW_MS).unref();
  }

  async #isFirst(rollout: RolloutRecord): Promise<boolean> {
    const [first] = await this.#parts.store.rollouts.running(rollout);
    return first === undefined || first.rolloutId === rollout.rolloutId;
  }

  /** What served when this rollout's turn came is what it goes back to. */
  async #locked(rollout: RolloutRecord): Promise<void> {
    if (rollout.state !== RolloutState.PLANNED) return;
    const service = await this.#parts.store.service(rollout);
    const previousRevision = service?.revision ?? 0n;
    const previousWanted = service?.wanted ?? 0;
    const revision = await this.#revisionFor(rollout, previousRevision);
    const wanted = rollout.wanted >= 0 ? rollout.wanted : previousWanted;
    Object.assign(rollout, { state: RolloutState.LOCKED, previousRevision, previousWanted, revision, wanted });
    await this.#parts.store.rollouts.set(rollout.rolloutId, {
      state: rollout.state,
      previousRevision,
      previousWanted,
      revision,
      wanted,
    });
  }

  async #revisionFor({ kind, revision }: RolloutRecord, serving: bigint): Promise<bigint> {
    return kind === RolloutKind.DEPLOY || kind === RolloutKind.ROLLBACK ? revision : serving;
  }

  /** Only a rollout's own failure ends it: while the database or the runtime is away, it is tried again. */
  async #untilDone(rollout: RolloutRecord): Promise<void> {
    const report = new RolloutReport(rollout, this.#parts.journal, this.#parts.store);
    for (;;) {
      this.#end.signal.throwIfAborted();
      try {
        if (rollout.state !== RolloutState.REVERTING) return await this.#forward(report);
        return await this.#revert(report, undefined);
      } catch (error) {
        // A server that stops leaves the rollout where it is; what its end broke is no failure of the rollout.
        this.#end.signal.throwIfAborted();
        if (error instanceof RolloutFailedError && rollout.state !== RolloutState.REVERTING) {
          return await this.#fail(report, error);
        }
        if (!isPassing(error)) {
          return await this.#fail(
            report,
            new RolloutFailedError({ reason: HmsError.from(error).message, remedy: "Look into logs/server.log." }),
            error,
          );
        }
        this.#parts.log.warn("a rollout waits for what is away", { rolloutId: rollout.rolloutId, error });
        await delay(AGAIN_MS, undefined, { signal: this.#end.signal });
      }
    }
  }

  async #forward(report: RolloutReport): Promise<void> {
    const { rollout } = report;
    const { store } = this.#parts;
    const driver = new RolloutDriver(this.#parts, report);
    const { signal } = this.#end;
    await driver.prepare(signal);
    const revision = await store.revision(rollout, rollout.revision);
    const before = await this.#before(rollout);
    const deadline = revision
      ? AbortSignal.any([signal, AbortSignal.timeout(revision.manifest.rollout.deadlineMs)])
      : signal;
    if (revision) await driver.runReleaseCommand(revision, deadline);
    const onlyRollout = rollout.kind === RolloutKind.RESTART ? rollout.rolloutId : undefined;
    await driver.converge({ revision: rollout.revision, wanted: rollout.wanted, onlyRollout }, before, deadline);
    await this.#succeed(report, revision);
  }

  async #before(rollout: RolloutRecord): Promise<RevisionRecord | undefined> {
    return rollout.previousRevision === 0n ? undefined : this.#parts.store.revision(rollout, rollout.previousRevision);
  }

  async #succeed(report: RolloutReport, revision: RevisionRecord | undefined): Promise<void> {
    const { rollout } = report;
    const { store, traffic } = this.#parts;
    if (rollout.kind === RolloutKind.REMOVE) return this.#remove(report);
    await traffic.publishAndConfirm(rollout);
    await this.#prove(rollout, revision);
    const isNew = rollout.revision !== rollout.previousRevision;
    if (rollout.wanted > 0 && isNew) await store.setOutcome(rollout, rollout.revision, "good");
    await store.setService(rollout, {
      revision: rollout.revision,
      wanted: rollout.wanted,
      ...(isNew ? { deployedAt: new Date() } : {}),
    });
    const urls = revision && rollout.wanted > 0 ? serviceUrls(revision.manifest) : [];
    await this.#close(report, { state: RolloutState.SUCCEEDED, revision: rollout.revision, serviceUrls: urls });
    await this.#prune(rollout);
  }

  /** Success is proven: what has traffic is of this revision, by the runtime's own account of id and digest. */
  async #prove(rollout: RolloutRecord, revision: RevisionRecord | undefined): Promise<void> {
    const active = (await this.#parts.store.replicas(rollout)).filter(({ phase }) => phase === "active");
    const wrong = active.filter(({ id }) => {
      const spec = this.#parts.health.get(id)?.replica?.spec;
      return spec?.revision !== rollout.revision || spec.releaseDigest !== revision?.releaseDigest;
    });
    if (active.length === rollout.wanted && wrong.length === 0) return;
    throw new RolloutFailedError({
      reason: `What serves is not what was asked for: ${active.length} of ${rollout.wanted} replicas, ${wrong.length} of another revision.`,
      remedy: "Deploy again; `hms-sys status` shows what serves.",
    });
  }

  async #remove(report: RolloutReport): Promise<void> {
    const { rollout } = report;
    await this.#parts.traffic.remove(rollout);
    await this.#close(report, { state: RolloutState.SUCCEEDED, revision: rollout.revision, serviceUrls: [] });
    await this.#parts.store.removeService(rollout);
    await this.#parts.runtime.pruneReleases({
      environment: rollout.environment,
      service: rollout.service,
      keepDigests: [],
    });
  }

  async #prune(rollout: RolloutRecord): Promise<void> {
    const { store, runtime, log } = this.#parts;
    try {
      const current = await store.revision(rollout, rollout.revision);
      const good = await store.goodRevisions(rollout, rollout.revision, KEPT_REVISIONS);
      const keepDigests = [...(current ? [current] : []), ...good].map(({ releaseDigest }) => releaseDigest);
      await runtime.pruneReleases({ environment: rollout.environment, service: rollout.service, keepDigests });
    } catch (error) {
      log.warn("old releases could not be deleted", { error });
    }
  }

  async #fail(report: RolloutReport, error: RolloutFailedError, cause?: unknown): Promise<void> {
    const { rollout } = report;
    const { store, log } = this.#parts;
    log.warn("a rollout failed", { rolloutId: rollout.rolloutId, reason: error.message, error: cause });
    if (rollout.state === RolloutState.REVERTING) {
      return this.#close(report, {
        state: RolloutState.FAILED,
        revision: rollout.previousRevision,
        failure: error.failure,
      });
    }
    const failure = toJson(deployment.RolloutFailureSchema, error.failure);
    rollout.state = RolloutState.REVERTING;
    await store.rollouts.set(rollout.rolloutId, { state: rollout.state, failure });
    if (rollout.kind === RolloutKind.DEPLOY && rollout.revision !== 0n)
      await store.setOutcome(rollout, rollout.revision, "bad");
    for (;;) {
      try {
        return await this.#revert(report, error.failure);
      } catch (second) {
        this.#end.signal.throwIfAborted();
        if (!isPassing(second)) return await this.#notRestored(report, error.failure, second);
        await delay(AGAIN_MS, undefined, { signal: this.#end.signal });
      }
    }
  }

  async #revert(report: RolloutReport, failure: deployment.RolloutFailure | undefined): Promise<void> {
    const { rollout } = report;
    const { store, traffic } = this.#parts;
    const before = await this.#before(rollout);
    if (before) await store.setService(rollout, { trafficRevision: before.revision });
    const target = { revision: rollout.previousRevision, wanted: rollout.previousWanted, notRollout: undefined };
    await new RolloutDriver(this.#parts, report).converge(target, before, this.#end.signal);
    if (before) await traffic.publishAndConfirm(rollout);
    await this.#close(report, {
      state: RolloutState.ROLLED_BACK,
      revision: rollout.previousRevision,
      failure: failure ?? recordedFailure(rollout),
    });
  }

  async #notRestored(report: RolloutReport, failure: deployment.RolloutFailure, error: unknown): Promise<void> {
    const why = error instanceof RolloutFailedError ? error.message : HmsError.from(error).message;
    const reason = `${failure.reason} What served before could not be restored: ${why}`;
    await this.#close(report, {
      state: RolloutState.FAILED,
      revision: report.rollout.previousRevision,
      failure: { ...failure, reason },
    });
  }

  async #close(
    report: RolloutReport,
    value: {
      state: deployment.RolloutState;
      revision: bigint;
      serviceUrls?: string[];
      failure?: deployment.RolloutFailure;
    },
  ): Promise<void> {
    const { rollout } = report;
    rollout.state = value.state;
    await report.add({ case: "ended", value });
    const failure = value.failure ? { failure: toJson(deployment.RolloutFailureSchema, value.failure) } : {};
    await this.#parts.store.rollouts.set(rollout.rolloutId, { state: value.state, endedAt: new Date(), ...failure });
  }

  /** True while a rollout of the service runs in this server. */
  async busy(key: ServiceKey): Promise<boolean> {
    return (await this.#parts.store.rollouts.running(key)).length > 0;
  }

  /** Stops where it is; the next server carries on. */
  async close(): Promise<void> {
    this.#end.abort(new HmsError("CANCELLED", "The server stops."));
    await Promise.allSettled(this.#running.values());
  }
}

/** What is away comes back, and a disk that is full gets room again: neither says anything of the rollout. */
function isPassing(error: unknown): boolean {
  if (error instanceof RolloutFailedError) return false;
  return ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"].includes(HmsError.from(error).code);
}

function recordedFailure(rollout: RolloutRecord): deployment.RolloutFailure {
  return new RolloutFailedError({ reason: rollout.failureReason || "The rollout failed.", remedy: "" }).failure;
}
