import { randomBytes } from "node:crypto";
import { dirname, isAbsolute, resolve } from "node:path";
import { deployment } from "@hms/contracts";
import { type CallContext, HmsError, type Metadata } from "@hms/kernel";
import { type Manifest, parseManifest } from "@hms/manifest";
import { rolloutLocked, serviceNotFound } from "./errors.ts";
import type { RolloutRecord, ServiceKey, ServiceRecord } from "./records.ts";
import type { RolloutJournal } from "./rollout-journal.ts";
import type { RolloutRunner } from "./rollout-runner.ts";
import { checkedName, nearestName } from "./service-name.ts";
import type { DeploymentStore } from "./store.ts";

const { RolloutKind, RolloutState } = deployment;

/** As many replicas as are wanted when the rollout's turn comes. */
const AS_WANTED = -1;

/** Turns requests into rollouts on record. */
export class RolloutRequests {
  readonly #store: DeploymentStore;
  readonly #journal: RolloutJournal;
  readonly #runner: RolloutRunner;

  constructor(parts: { store: DeploymentStore; journal: RolloutJournal; runner: RolloutRunner }) {
    this.#store = parts.store;
    this.#journal = parts.journal;
    this.#runner = parts.runner;
  }

  /** The manifest of a request and where its program lies. */
  readManifest(request: {
    manifest: string;
    manifestPath: string;
    environment: string;
    variables: Record<string, string>;
  }): {
    manifest: Manifest;
    key: ServiceKey;
    sourceDirectory: string;
  } {
    if (!isAbsolute(request.manifestPath))
      throw new HmsError("INVALID_ARGUMENT", "manifest_path must be absolute: the program is looked up beside it.");
    const environment = checkedName("environment", request.environment || "default");
    const resolveEnv = (name: string) => (Object.hasOwn(request.variables, name) ? request.variables[name] : undefined);
    const manifest = parseManifest(request.manifest, { fileName: request.manifestPath, resolveEnv });
    const sourceDirectory = resolve(dirname(request.manifestPath), manifest.run.directory);
    return { manifest, key: { environment, service: manifest.name }, sourceDirectory };
  }

  /** The replicas that a deploy would lead to: what was scaled to is kept within the new bounds. */
  wantedAfter(manifest: Manifest, service: ServiceRecord | undefined): number {
    const { min, max } = manifest.scaling;
    return service === undefined || service.wanted === 0 ? min : Math.min(max, Math.max(min, service.wanted));
  }

  async deploy(request: deployment.DeployRequest, context: CallContext): Promise<string> {
    const { manifest, key, sourceDirectory } = this.readManifest(request);
    await this.#store.ensureService(key);
    if (request.refuseIfLocked) await this.#refuseIfLocked(key);
    const wanted = this.wantedAfter(manifest, await this.#store.service(key));
    return this.#begin(key, { kind: RolloutKind.DEPLOY, wanted, manifest, sourceDirectory }, context);
  }

  async #refuseIfLocked(key: ServiceKey): Promise<void> {
    const [holder] = await this.#store.rollouts.running(key);
    if (holder) throw rolloutLocked(holder);
  }

  async scale(request: deployment.ScaleRequest, context: CallContext): Promise<string> {
    const service = await this.existing(request);
    const revision = await this.#store.revision(service, service.revision);
    const max = revision?.manifest.scaling.max ?? 1;
    if (request.replicas < 1 || request.replicas > max) {
      throw new HmsError(
        "INVALID_ARGUMENT",
        `${request.replicas} replicas are outside of 1 to ${max} (scaling.max in the manifest). To end all: hms-sys stop ${service.service}`,
      );
    }
    return this.#begin(service, { kind: RolloutKind.SCALE, wanted: request.replicas }, context);
  }

  async restart(request: deployment.RestartRequest, context: CallContext): Promise<string> {
    const service = await this.existing(request);
    const revision = await this.#store.revision(service, service.revision);
    const wanted = service.wanted > 0 ? AS_WANTED : (revision?.manifest.scaling.min ?? 1);
    return this.#begin(service, { kind: RolloutKind.RESTART, wanted }, context);
  }

  async rollback(request: deployment.RollbackRequest, context: CallContext): Promise<string> {
    const service = await this.existing(request);
    const revision = request.revision === 0n ? await this.#lastGood(service) : request.revision;
    const record = await this.#store.revision(service, revision);
    if (record === undefined)
      throw new HmsError(
        "NOT_FOUND",
        `${service.service} has no revision ${revision}; \`hms-sys history ${service.service}\` lists them.`,
      );
    const wanted = this.wantedAfter(record.manifest, service);
    return this.#begin(service, { kind: RolloutKind.ROLLBACK, wanted, revision }, context);
  }

  async #lastGood(service: ServiceRecord): Promise<bigint> {
    const good = await this.#store.goodRevisions(service, service.revision, 50);
    const before = good.find(({ revision }) => revision < service.revision) ?? good[0];
    if (before) return before.revision;
    throw new HmsError(
      "FAILED_PRECONDITION",
      `No other revision of ${service.service} ever served well, so there is nothing to return to.`,
    );
  }

  async stop(request: deployment.StopRequest, context: CallContext): Promise<string> {
    return this.#begin(await this.existing(request), { kind: RolloutKind.STOP, wanted: 0 }, context);
  }

  async remove(request: deployment.RemoveRequest, context: CallContext): Promise<string> {
    return this.#begin(await this.existing(request), { kind: RolloutKind.REMOVE, wanted: 0 }, context);
  }

  /** @throws HmsError NOT_FOUND with the nearest name. */
  async existing(request: { environment: string; service: string }): Promise<ServiceRecord> {
    const environment = checkedName("environment", request.environment || "default");
    const name = checkedName("service", request.service);
    const service = await this.#store.service({ environment, service: name });
    if (service) return service;
    throw serviceNotFound(environment, name, nearestName(name, await this.#store.serviceNames(environment)));
  }

  async #begin(
    { environment, service }: ServiceKey,
    wish: Pick<RolloutRecord, "kind" | "wanted"> &
      Partial<Pick<RolloutRecord, "manifest" | "sourceDirectory" | "revision">>,
    { principal, metadata }: CallContext,
  ): Promise<string> {
    const rollout: RolloutRecord = {
      rolloutId: askedId(metadata) ?? newRolloutId(),
      environment,
      service,
      state: RolloutState.PLANNED,
      revision: 0n,
      previousRevision: 0n,
      previousWanted: 0,
      principal: principal.id,
      manifest: undefined,
      sourceDirectory: undefined,
      releaseCommandDone: false,
      failureReason: "",
      startedAt: new Date(),
      endedAt: undefined,
      ...wish,
    };
    if (await this.#store.rollouts.get(rollout.rolloutId)) return rollout.rolloutId;
    await this.#store.rollouts.add(rollout);
    await this.#journal.add(rollout.rolloutId, {
      case: "planned",
      value: { kind: rollout.kind, service, environment, revision: rollout.revision },
    });
    this.#runner.run(rollout);
    return rollout.rolloutId;
  }
}

/** The metadata by which a caller may repeat a request whose answer was lost: it names the rollout to be. */
const KEY = "x-hms-idempotency-key";

function askedId(metadata: Metadata): string | undefined {
  const key = metadata[KEY];
  if (key === undefined) return undefined;
  if (/^[a-z0-9]{8,32}$/.test(key)) return key;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `${KEY} must be 8 to 32 lower-case letters and digits, new for every rollout.`,
  );
}

/** Rollouts sort by their ids as they began. */
function newRolloutId(): string {
  return `${Date.now().toString(36)}${randomBytes(3).toString("hex")}`;
}
