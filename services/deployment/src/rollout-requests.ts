import { dirname, isAbsolute, resolve } from "node:path";
import type { deployment } from "@hms/contracts";
import { type CallContext, componentPrincipal, HmsError, type Principal, principalName } from "@hms/kernel";
import { examineManifest, type Manifest } from "@hms/manifest";
import { retryWhileUnavailable } from "@hms/postgres";
import { deployWarnings } from "./downtime-verdict.ts";
import { diskFull, nothingDeployed, nothingToRetry, notScaledByLoad } from "./errors.ts";
import { expectedOf, refuseChanged } from "./expected-revision.ts";
import { type Freezes, freezableOf } from "./freezes.ts";
import { checkPlanId } from "./plan-id.ts";
import type { DeploymentRuntime } from "./ports.ts";
import type { Previews } from "./previews/previews.ts";
import { programChanges } from "./program-changes.ts";
import { refuseTexts, runOf } from "./request-texts.ts";
import { rollbackTarget, taggedRevision } from "./rollback-target.ts";
import { askedId, newRolloutId, takenId } from "./rollout-id.ts";
import type { NewRollout, RolloutJournal } from "./rollout-journal.ts";
import { plannedRollout } from "./rollout-machine.ts";
import { plannedEvent, rolloutEvent } from "./rollout-report.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { routeWarnings } from "./route-warnings.ts";
import type { LoadChange } from "./scaling/auto-scaler.ts";
import { scalingRule } from "./scaling/scaling-rule.ts";
import type { DeploySecrets } from "./secrets/deploy-secrets.ts";
import type { SecretVersions } from "./secrets/secret-tables.ts";
import type { ServiceAccess } from "./service-access.ts";
import { checkedName } from "./service-name.ts";
import type { ServiceReader } from "./service-reader.ts";
import type { RevisionRecord, ServiceKey, ServiceRecord } from "./service-record.ts";
import { withStrategy } from "./with-strategy.ts";

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;
/** A rollout needs room for its journal, its release and what its replicas write; with less none begins. */
const LEAST_ROOM_BYTES = 32 * 1024 ** 2;

/** A manifest as a request brings it. */
export interface GivenManifest {
  manifest: string;
  manifestPath: string;
  environment: string;
  variables: Record<string, string>;
}

type Wish = Pick<NewRollout, "kind"> &
  Partial<Pick<NewRollout, "request" | "revision" | "refuseIfLocked" | "reason" | "admit">> & {
    /** The revision to lead to; default: the current one. */
    target?: RevisionRecord;
    manifest?: Manifest | undefined;
    warnings?: string[];
    /** Refuses what is not right any more when it is written down, by throwing. */
    check?: (record: ServiceRecord) => void;
    /** Refuse if another revision serves by the time it is written down, or another rollout runs. */
    plannedOn?: number;
  };

interface RequestParts {
  journal: RolloutJournal;
  reader: ServiceReader;
  runtime: Pick<DeploymentRuntime, "freeBytes" | "compareRelease">;
  freezes: Freezes;
  previews: Previews;
  begin: (row: RolloutRow) => void;
  access: ServiceAccess;
  /** What `auth` is for routes that do not say it, asked for each manifest. */
  routesDefaultAuth: () => "public" | "required";
  secrets: DeploySecrets;
}

/** A manifest of a request. */
interface ReadManifest {
  manifest: Manifest;
  key: ServiceKey;
  /** Where its program lies. */
  sourceDirectory: string;
  /** What should be known before it is deployed, one sentence each. */
  warnings: string[];
}

/** Turns requests into rollouts on record. */
export class RolloutRequests {
  readonly #journal: RolloutJournal;
  readonly #reader: ServiceReader;
  readonly #runtime: RequestParts["runtime"];
  readonly #freezes: Freezes;
  readonly #previews: Previews;
  readonly #begin: (row: RolloutRow) => void;
  readonly #access: ServiceAccess;
  readonly #routesDefaultAuth: RequestParts["routesDefaultAuth"];
  readonly #secrets: DeploySecrets;

  /** `begin` starts to carry a rollout on. */
  constructor(parts: RequestParts) {
    this.#journal = parts.journal;
    this.#reader = parts.reader;
    this.#runtime = parts.runtime;
    this.#freezes = parts.freezes;
    this.#previews = parts.previews;
    this.#begin = parts.begin;
    this.#access = parts.access;
    this.#routesDefaultAuth = parts.routesDefaultAuth;
    this.#secrets = parts.secrets;
  }

  /**
   * The rollout that this very request has begun already, if its answer was lost and it is repeated, else the one that
   * `begin` begins.
   * @throws HmsError RESOURCE_EXHAUSTED at once if the disk has no room for a rollout, unless it `frees` some.
   */
  async beginOnce(
    { metadata, principal }: CallContext,
    begin: () => Promise<string>,
    { frees }: { frees: boolean },
  ): Promise<string> {
    const lack = await this.#lackOfRoom();
    try {
      const begun = await this.#begun(askedId(metadata), principal, lack ? 0 : PATIENCE_MS);
      if (begun !== undefined) return begun;
      if (lack && !frees) throw lack;
      return await begin();
    } catch (error) {
      // A database that cannot write ends and comes back, over and over.
      throw lack && HmsError.from(error).code === "UNAVAILABLE" ? lack : error;
    }
  }

  async #lackOfRoom(): Promise<HmsError | undefined> {
    // A runtime that does not say how much room there is finds out itself.
    const free = (await this.#runtime.freeBytes().catch(() => undefined)) ?? LEAST_ROOM_BYTES;
    return free < LEAST_ROOM_BYTES ? diskFull(free) : undefined;
  }

  /** The rollout that the caller has begun under an id before. @throws HmsError ALREADY_EXISTS if it is somebody else's */
  async #begun(rolloutId: string | undefined, { id }: Principal, deadlineMs: number): Promise<string | undefined> {
    if (rolloutId === undefined) return undefined;
    const row = await retryWhileUnavailable(() => this.#journal.find(rolloutId), { deadlineMs });
    if (row && row.principal !== id) throw takenId(rolloutId);
    return row?.rollout_id;
  }

  /** The manifest of a request and where its program lies. @throws HmsError INVALID_ARGUMENT with every problem. */
  readManifest(given: GivenManifest): ReadManifest {
    const { manifestPath, variables } = given;
    if (!isAbsolute(manifestPath)) {
      throw new HmsError("INVALID_ARGUMENT", "manifest_path must be absolute: the program is looked up beside it.");
    }
    const environment = checkedName("environment", given.environment || "default");
    const resolveEnv = (name: string) => (Object.hasOwn(variables, name) ? variables[name] : undefined);
    const routesDefaultAuth = this.#routesDefaultAuth();
    const parsed = examineManifest(given.manifest, { fileName: manifestPath, resolveEnv, routesDefaultAuth });
    const { manifest } = parsed;
    const sourceDirectory = resolve(dirname(manifestPath), manifest.run.directory);
    const key = { environment, service: manifest.name };
    return { manifest, key, sourceDirectory, warnings: [...deployWarnings(manifest), ...routeWarnings(parsed)] };
  }

  async deploy(request: deployment.DeployRequest, context: CallContext): Promise<string> {
    const { manifest: given, key, sourceDirectory, warnings } = this.readManifest(request);
    const manifest = withStrategy(given, request.strategy);
    const { reason, tag } = request;
    await this.admit(context, key, sourceDirectory);
    const { warnings: told, again: admit } = await this.#admitNow(context, key, {
      ...{ manifest, override: request.overrideFreeze },
    });
    const secrets = await this.#secrets.newest(context, key, manifest);
    const plannedOn = await this.#plannedOn(
      request.planId,
      { manifest: given, key, sourceDirectory, secrets },
      context,
    );
    const { refuseIfLocked } = request;
    const revision = { manifest, sourceDirectory, tag, secrets };
    const missing = await this.#reader.notServing(key.environment, manifest.needs);
    told.push(...warnings, ...missing.map((need) => `It needs ${need}, which does not serve now.`));
    const asked = freezableOf(request);
    const wish = {
      kind: "deploy",
      revision,
      manifest,
      refuseIfLocked,
      warnings: told,
      reason,
      admit,
      request: asked,
    } as const;
    return this.#add(key, { ...wish, ...(plannedOn !== undefined && { plannedOn }) }, context);
  }

  /** Whether new versions may come now, or the caller may say that they may; answers as previews do. @throws HmsError */
  async #admitNow(
    context: CallContext,
    key: ServiceKey,
    { manifest, override }: { manifest: Manifest; override: boolean },
  ): ReturnType<Previews["admit"]> {
    if (override) await this.#access.admitOverride(context, key);
    else await this.#freezes.admit(key, manifest);
    return await this.#previews.admit(key.environment);
  }

  /** The revision that a plan was made on, if it still holds. @throws HmsError FAILED_PRECONDITION if it does not */
  async #plannedOn(
    planId: string,
    given: Pick<ReadManifest, "manifest" | "key" | "sourceDirectory"> & { secrets: SecretVersions },
    { signal }: CallContext,
  ): Promise<number | undefined> {
    if (planId === "") return undefined;
    const record = await this.#reader.find(given.key);
    const { digest } = await programChanges(this.#runtime, record, { ...given, signal });
    const currentRevision = record?.currentRevision ?? 0;
    const { manifest, secrets } = given;
    checkPlanId(planId, { currentRevision, manifest, secrets, programDigest: digest });
    return currentRevision;
  }

  /** Deploys once more what did not succeed. @throws HmsError FAILED_PRECONDITION if the last deploy did, or runs still */
  async retry(request: deployment.RetryRequest, context: CallContext): Promise<string> {
    const record = await this.#reader.existing(request, context);
    const last = await this.#reader.lastDeploy(record);
    const revisions = await this.#reader.revisions(record);
    const target = revisions.find(({ revision }) => String(revision) === last?.revision);
    if (last === undefined || target === undefined || last.ended_at === null || last.phase === "succeeded") {
      throw nothingToRetry(record, last);
    }
    const { manifest } = target;
    const { again: admit } = await this.#admitNow(context, record, { manifest, override: request.overrideFreeze });
    const reason = request.reason || `retry of ${last.rollout_id}`;
    const asked = { again: true, ...expectedOf(last.request), ...freezableOf(request) };
    return this.#add(record, { kind: "deploy", request: asked, target, manifest, reason, admit }, context);
  }

  /** Whether the caller may look at a folder of the platform's disk as the program of this service. @throws HmsError */
  async admit(context: CallContext, key: ServiceKey, sourceDirectory: string): Promise<void> {
    const revisions = await this.#reader.revisions(key);
    const shown = await this.#previews.shownTo(context, key);
    const all = shown ? [...revisions, ...(await this.#reader.revisions(shown))] : revisions;
    const knownDirectories = all.map((revision) => revision.sourceDirectory);
    await this.#access.admitDeploy(context, { key, sourceDirectory, knownDirectories });
  }

  async scale(request: deployment.ScaleRequest, context: CallContext): Promise<string> {
    const record = await this.#deployed(request, context);
    const manifest = record.revisions.get(record.currentRevision)?.manifest;
    if (request.automatic) return this.#giveBack(record, request, context);
    const { min = 1, max = 1 } = manifest?.scaling ?? {};
    const { replicas } = request;
    if (replicas < 1 || replicas > max) {
      const description = `${replicas} is outside of 1 to ${max} (scaling.max in the manifest). To end all replicas: hms-sys stop ${record.service}`;
      throw new HmsError("INVALID_ARGUMENT", `replicas: ${description}`, {
        fieldViolations: [{ field: "replicas", description }],
      });
    }
    const few = `${replicas} is less than scaling.min, ${min}; the next deploy goes back to that.`;
    return this.#add(
      record,
      { kind: "scale", request: { replicas }, manifest, warnings: replicas < min ? [few] : [], reason: request.reason },
      context,
    );
  }

  /** From now on the load decides; it begins with what runs. */
  async #giveBack(record: ServiceRecord, request: deployment.ScaleRequest, context: CallContext): Promise<string> {
    const manifest = record.revisions.get(record.currentRevision)?.manifest;
    const rule = manifest && scalingRule(manifest.scaling);
    if (rule === undefined) throw notScaledByLoad(record);
    if (request.replicas !== 0) {
      const description = "It says a number and that the load decides. Say one of them.";
      throw new HmsError("INVALID_ARGUMENT", `replicas: ${description}`, {
        fieldViolations: [{ field: "replicas", description }],
      });
    }
    const { wanted } = record;
    const replicas = record.asleep ? 0 : Math.min(rule.max, Math.max(1, rule.min, wanted));
    const wish = { kind: "scale", request: { replicas, automatic: true }, manifest, reason: request.reason } as const;
    return this.#add(record, wish, context);
  }

  /**
   * A change that a service's load asks for.
   * @throws HmsError ABORTED if a rollout runs, FAILED_PRECONDITION if the number is another one, or a person's, by now
   */
  async scaleByLoad(key: ServiceKey, { from, to, reason }: LoadChange): Promise<string> {
    const record = await this.#reader.find(key);
    if (record === undefined) throw nothingDeployed(key);
    const manifest = record.revisions.get(record.currentRevision)?.manifest;
    const check = ({ wanted, scaledTo, currentRevision }: ServiceRecord) => {
      if (wanted === from && scaledTo === undefined && currentRevision === record.currentRevision) return;
      throw new HmsError("FAILED_PRECONDITION", "The service is another one by now.", { reason: "SERVICE_CHANGED" });
    };
    const wish = { kind: "scale", request: { replicas: to, automatic: true }, manifest, reason, check } as const;
    return this.#add(record, { ...wish, refuseIfLocked: true }, AUTO_SCALER);
  }

  async restart(request: deployment.RestartRequest, context: CallContext): Promise<string> {
    const { reason } = request;
    const record = await this.#deployed(request, context);
    if (request.newSecrets) return this.#restartWithNewSecrets(record, request, context);
    return this.#add(record, { kind: "restart", reason }, context);
  }

  /** The current program and manifest once more, as a revision with the newest secrets: so there is one to go back to. */
  async #restartWithNewSecrets(
    record: ServiceRecord,
    request: deployment.RestartRequest,
    context: CallContext,
  ): Promise<string> {
    const current = record.revisions.get(record.currentRevision);
    if (current === undefined) throw nothingDeployed(record);
    const { manifest, sourceDirectory, releaseDigest } = current;
    const secrets = await this.#secrets.newest(context, record, manifest);
    const revision = { manifest, sourceDirectory, releaseDigest, tag: "", secrets };
    const reason = request.reason || "new secrets";
    const expected = { again: true, expectedRevision: record.currentRevision };
    return this.#add(record, { kind: "deploy", request: expected, revision, manifest, reason }, context);
  }

  async rollback(request: deployment.RollbackRequest, context: CallContext): Promise<string> {
    const record = await this.#reader.existing(request, context);
    const revisions = await this.#reader.revisions(record);
    const { reason, tag } = request;
    const asked = tag === "" ? Number(request.revision) : taggedRevision(record, revisions, tag);
    const target = rollbackTarget(record, revisions, asked);
    const { manifest } = target;
    return this.#add(record, { kind: "rollback", target, manifest, reason, request: expectedOf(request) }, context);
  }

  async stop(request: deployment.StopRequest, context: CallContext): Promise<string> {
    const { reason } = request;
    const wish = { kind: "stop", reason, request: expectedOf(request) } as const;
    return this.#add(await this.#reader.existing(request, context), wish, context);
  }

  async remove(request: deployment.RemoveRequest, context: CallContext): Promise<string> {
    return this.#add(await this.#reader.existing(request, context), { kind: "remove" }, context);
  }

  /** Removes a service for a part of the platform, if `admit` does not refuse it. */
  removeFor(
    principal: Principal,
    key: ServiceKey,
    wish: Required<Pick<NewRollout, "reason" | "admit">>,
  ): Promise<string> {
    return this.#add(key, { kind: "remove", ...wish }, { principal, metadata: {} });
  }

  async #deployed(request: { environment: string; service: string }, context: CallContext): Promise<ServiceRecord> {
    const record = await this.#reader.existing(request, context);
    if (record.currentRevision === 0) throw nothingDeployed(record);
    return record;
  }

  async #add(
    { environment, service }: ServiceKey,
    wish: Wish,
    { principal, metadata, signal }: Pick<CallContext, "principal" | "metadata"> & { signal?: AbortSignal },
  ): Promise<string> {
    const { kind, target, manifest, warnings = [], request = {}, revision, refuseIfLocked = false, reason = "" } = wish;
    refuseTexts({ reason, tag: revision?.tag ?? "" });
    await this.#reader.settled({ environment, service });
    const rolloutId = askedId(metadata) ?? newRolloutId();
    const rollout: NewRollout = {
      environment,
      service,
      rolloutId,
      kind,
      principal: principal.id,
      owner: principalName(principal),
      version: manifest?.version ?? "",
      request: { ...request, ...runOf(metadata) },
      reason,
      refuseIfLocked: refuseIfLocked || wish.plannedOn !== undefined,
      ...(wish.admit && { admit: wish.admit }),
      ...(revision ? { revision, secrets: revision.secrets } : target ? { secrets: target.secrets } : {}),
      begin: (number, record) => {
        // Whoever has gone, or was told to stop, begins nothing more.
        signal?.throwIfAborted();
        wish.check?.(record);
        refuseChanged(record, request);
        if (wish.plannedOn !== undefined && wish.plannedOn !== record.currentRevision) {
          throw new HmsError(
            "FAILED_PRECONDITION",
            `Revision ${record.currentRevision} serves now, and the plan was made for ${wish.plannedOn}. Plan again.`,
            { reason: "PLAN_OUTDATED" },
          );
        }
        const names = { rolloutId, environment, service, kind };
        const leadsTo = target?.revision ?? number;
        const state = plannedRollout({ ...names, revision: leadsTo, previousRevision: record.currentRevision });
        return { state, event: rolloutEvent(rolloutId, plannedEvent(state, warnings)) };
      },
    };
    const patience = { deadlineMs: PATIENCE_MS, ...(signal ? { signal } : {}) };
    await retryWhileUnavailable(() => this.#journal.create(rollout), patience);
    this.#begin(await retryWhileUnavailable(() => this.#journal.read(rolloutId), { deadlineMs: PATIENCE_MS }));
    return rolloutId;
  }
}

/** Whom changes that follow the load are by. */
const AUTO_SCALER = { principal: componentPrincipal("autoscaler"), metadata: {} };
