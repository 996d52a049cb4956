import type { JsonObject } from "@bufbuild/protobuf";
import { type Selectable, sql, type Transaction } from "kysely";
import { noSuchRollout } from "./errors.ts";
import { revisionVerdicts } from "./revision-verdicts.ts";
import { hasEnded, type RolloutState } from "./rollout-state.ts";
import type { SecretVersions } from "./secrets/secret-tables.ts";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";
import { storedJson, storedText } from "./stored-json.ts";
import type { DeploymentTables } from "./tables.ts";

type Trx = Transaction<DeploymentTables>;

/** A rollout as its row has it. */
export type RolloutRow = Selectable<DeploymentTables["rollout"]>;

/** Logs of replicas that have gone may be read this long by their ids. */
const GONE_KEPT = "30 days";

/** A rollout's row. @throws HmsError NOT_FOUND. */
export async function rolloutRow(trx: Trx, rolloutId: string): Promise<RolloutRow> {
  const row = await trx.selectFrom("rollout").selectAll().where("rollout_id", "=", rolloutId).executeTakeFirst();
  if (row === undefined) throw noSuchRollout(rolloutId);
  return row;
}

/** Everything that changes a service does so under this lock of its row. */
export async function lockService(trx: Trx, { environment, service }: ServiceKey): Promise<void> {
  await trx
    .selectFrom("service")
    .select("name")
    .where("environment", "=", environment)
    .where("name", "=", service)
    .forUpdate()
    .execute();
}

/** The service's rollout whose turn it is. */
export function oldestRunning(trx: Trx, { environment, service }: ServiceKey): Promise<RolloutRow | undefined> {
  return trx
    .selectFrom("rollout")
    .selectAll()
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("ended_at", "is", null)
    .orderBy("position")
    .limit(1)
    .executeTakeFirst();
}

/** Gives a new revision its number. */
export async function addRevision(
  trx: Trx,
  { environment, service }: ServiceKey,
  given: { manifest: object; sourceDirectory: string; tag: string; secrets: SecretVersions; releaseDigest?: string },
): Promise<number> {
  const { manifest, sourceDirectory, tag, secrets, releaseDigest = "" } = given;
  const { next_revision } = await trx
    .updateTable("service")
    .set({ next_revision: sql`next_revision + 1` })
    .where("environment", "=", environment)
    .where("name", "=", service)
    .returning("next_revision")
    .executeTakeFirstOrThrow();
  const revision = Number(next_revision) - 1;
  if (tag !== "") {
    // The newest one has it.
    await trx
      .updateTable("revision")
      .set({ tag: "" })
      .where("environment", "=", environment)
      .where("service", "=", service)
      .where("tag", "=", tag)
      .execute();
  }
  await trx
    .insertInto("revision")
    .values({
      environment,
      service,
      revision: String(revision),
      manifest: JSON.stringify(manifest),
      source_directory: sourceDirectory,
      tag,
      secrets: JSON.stringify(secrets),
      release_digest: releaseDigest,
    })
    .execute();
  return revision;
}

/** Writes down what happened, numbered on from `from`. */
export async function addEvents(
  trx: Trx,
  { environment, rolloutId, from }: { environment: string; rolloutId: string; from: number },
  events: readonly JsonObject[],
): Promise<void> {
  if (events.length === 0) return;
  const rows = events.map((event, index) => ({
    environment,
    rollout_id: rolloutId,
    sequence: String(from + index + 1),
    event: storedJson(event),
  }));
  await trx.insertInto("rollout_event").values(rows).execute();
  await trx
    .updateTable("rollout")
    .set({ events: String(from + events.length) })
    .where("rollout_id", "=", rolloutId)
    .execute();
}

/** Writes a transition down: the rollout, its replicas, its revision, its service. */
export async function writeTurn(
  trx: Trx,
  change: { row: RolloutRow; record: ServiceRecord; state: RolloutState; turn: number },
): Promise<void> {
  const { row, state, turn } = change;
  await trx
    .updateTable("rollout")
    .set({
      state: storedJson(state),
      phase: state.phase,
      revision: String(state.revision),
      previous_revision: String(state.previousRevision),
      turn: String(turn),
      ...(hasEnded(state)
        ? { ended_at: sql<Date>`clock_timestamp()`, failure_reason: storedText(state.failure?.reason ?? "") }
        : {}),
    })
    .where("rollout_id", "=", row.rollout_id)
    .execute();
  // A rollout that never got its turn has changed nothing.
  if (row.phase === "planned" && hasEnded(state)) return forgetIfEmpty(trx, state);
  await writeReplicas(trx, row.state, state);
  await writeRevision(trx, row.state, state);
  await writeService(trx, state);
  if (state.phase === "succeeded" && state.kind === "remove") await forgetService(trx, state);
}

async function writeReplicas(trx: Trx, before: RolloutState, state: RolloutState): Promise<void> {
  const { environment, service } = state;
  const old = new Map(before.replicas.map((replica) => [replica.id, replica]));
  for (const replica of state.replicas) {
    const { id, revision, ordinal, phase, traffic } = replica;
    const known = old.get(id);
    if (phase === "planned" || (known?.phase === phase && known.traffic === traffic)) continue;
    const what = { phase, traffic, changed_at: sql<Date>`clock_timestamp()` };
    await trx
      .insertInto("replica")
      .values({ environment, service, replica_id: id, revision: String(revision), ordinal, ...what })
      .onConflict((conflict) => conflict.columns(["environment", "replica_id"]).doUpdateSet(what))
      .execute();
  }
  const there = new Set(state.replicas.map(({ id }) => id));
  const gone = before.replicas.filter(({ id, phase }) => phase !== "planned" && !there.has(id)).map(({ id }) => id);
  if (gone.length === 0) return;
  await trx
    .updateTable("replica")
    .set({ phase: "gone", changed_at: sql<Date>`clock_timestamp()` })
    .where("environment", "=", environment)
    .where("replica_id", "in", gone)
    .execute();
}

const revisionOf = (trx: Trx, { environment, service }: ServiceKey, revision: number) =>
  trx
    .updateTable("revision")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("revision", "=", String(revision));

async function writeRevision(trx: Trx, before: RolloutState, state: RolloutState): Promise<void> {
  const { revision, release } = state;
  if (release && release.digest !== before.release?.digest) {
    await revisionOf(trx, state, revision).set({ release_digest: release.digest }).execute();
  }
  for (const verdict of revisionVerdicts(state)) {
    await revisionOf(trx, state, verdict.revision).set({ outcome: verdict.outcome }).execute();
  }
}

async function writeService(trx: Trx, state: RolloutState): Promise<void> {
  const { environment, service, kind, phase, revision, policy } = state;
  const serves = phase === "succeeded" && (kind === "deploy" || kind === "rollback" || kind === "restart");
  await trx
    .updateTable("service")
    .set({
      traffic_revision: String(state.trafficRevision),
      split: state.split && !hasEnded(state) ? JSON.stringify(state.split) : null,
      ...(phase === "succeeded" ? { wanted: policy.wanted } : {}),
      ...(phase === "succeeded" && kind === "scale" ? { scaled_to: policy.automatic ? null : policy.wanted } : {}),
      ...(phase === "succeeded" ? { asleep: policy.automatic === true && policy.wanted === 0 } : {}),
      ...(serves ? { current_revision: String(revision) } : {}),
      ...(serves && kind !== "restart" ? { deployed_at: sql<Date>`clock_timestamp()` } : {}),
    })
    .where("environment", "=", environment)
    .where("name", "=", service)
    .execute();
  if (!hasEnded(state)) return;
  await trx
    .deleteFrom("replica")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("phase", "=", "gone")
    .where("changed_at", "<", sql<Date>`now() - ${GONE_KEPT}::interval`)
    .execute();
}

/** Forgets the service's past; what still waits for it starts from nothing. */
async function forgetService(trx: Trx, state: RolloutState): Promise<void> {
  const { environment, service, rolloutId } = state;
  const waiting = trx
    .selectFrom("rollout")
    .select("revision")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("ended_at", "is", null);
  await trx.deleteFrom("replica").where("environment", "=", environment).where("service", "=", service).execute();
  await trx
    .deleteFrom("revision")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where((eb) => eb.or([eb("revision", "not in", waiting), eb("outcome", "<>", "")]))
    .execute();
  await trx
    .deleteFrom("rollout")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("rollout_id", "<>", rolloutId)
    .where("ended_at", "is not", null)
    .execute();
  await trx
    .updateTable("service")
    .set({ current_revision: "0", traffic_revision: "0", wanted: 0, scaled_to: null, deployed_at: null, asleep: false })
    .where("environment", "=", environment)
    .where("name", "=", service)
    .execute();
  await forgetIfEmpty(trx, state);
}

/** A service without revisions and without rollouts to come does not exist. */
async function forgetIfEmpty(trx: Trx, { environment, service }: ServiceKey): Promise<void> {
  const revision = trx
    .selectFrom("revision")
    .select("revision")
    .where("environment", "=", environment)
    .where("service", "=", service);
  const running = trx
    .selectFrom("rollout")
    .select("rollout_id")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("ended_at", "is", null);
  await trx
    .deleteFrom("service")
    .where("environment", "=", environment)
    .where("name", "=", service)
    .where(({ not, exists }) => not(exists(revision)))
    .where(({ not, exists }) => not(exists(running)))
    .execute();
}
