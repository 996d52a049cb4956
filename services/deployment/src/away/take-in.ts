import type { JsonObject } from "@bufbuild/protobuf";
import { sql, type Transaction } from "kysely";
import { newRolloutId } from "../rollout-id.ts";
import { transition } from "../rollout-machine.ts";
import type { RolloutNews } from "../rollout-news.ts";
import { endedEvent, rolloutEvent } from "../rollout-report.ts";
import { addEvents, lockService, type RolloutRow, rolloutRow, writeTurn } from "../rollout-rows.ts";
import { hasEnded, type RolloutState } from "../rollout-state.ts";
import type { RevisionRecord, ServiceKey, ServiceRecord } from "../service-record.ts";
import { readServices } from "../service-store.ts";
import { storedJson, storedText } from "../stored-json.ts";
import type { DeploymentTables } from "../tables.ts";
import type { RollbackSpool, SpooledTurn } from "./rollback-spool.ts";
import { copyOf } from "./service-copy.ts";

type Trx = Transaction<DeploymentTables>;

/**
 * Enters a rollback that was made while the database was away into it, as if it had been journalled there: once, however often
 * this is called. What had not ended when the database went away is superseded by it. Answers with the rollout's id.
 */
export async function takeIn(trx: Trx, spool: RollbackSpool, news: RolloutNews): Promise<string> {
  const { environment, service } = spool.key;
  await trx
    .insertInto("service")
    .values({ environment, name: service, owner: spool.copy.record.owner })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await lockService(trx, spool.key);
  const ids = ["", "x", "y"].map((end) => `${spool.head.rolloutId}${end}`);
  const same = await trx.selectFrom("rollout").selectAll().where("rollout_id", "in", ids).execute();
  const isOwn = (row: RolloutRow) => row.environment === environment && row.service === service;
  const made = same.find((row) => row.request.away === true && isOwn(row));
  if (made) return made.rollout_id;
  // The request may have come through to the database although its answer was lost; it is superseded like the others.
  const free = ids.find((id) => same.every(({ rollout_id }) => rollout_id !== id));
  const rolloutId = free ?? newRolloutId();
  await endOthers(trx, spool, news);
  await writeFound(trx, spool);
  await replay(trx, { spool, rolloutId, news });
  return rolloutId;
}

async function endOthers(trx: Trx, spool: RollbackSpool, news: RolloutNews): Promise<void> {
  const { environment, service } = spool.key;
  const rows = await trx
    .selectFrom("rollout")
    .selectAll()
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("ended_at", "is", null)
    .orderBy("position")
    .execute();
  for (const row of rows) await supersede(trx, { row, by: spool, news });
  await trx.deleteFrom("rollout_lock").where("environment", "=", environment).where("service", "=", service).execute();
}

/** Ends a rollout that another one has taken the place of. */
async function supersede(
  trx: Trx,
  { row, by, news }: { row: RolloutRow; by: RollbackSpool; news: RolloutNews },
): Promise<void> {
  const failure = {
    reason: `While the database was away ${by.head.principal} rolled the service back (${by.head.rolloutId}), which took the place of this rollout.`,
    remedy: "Deploy it again, if it is still wanted.",
  };
  const { state } = row;
  const ended: RolloutState =
    state.phase === "planned"
      ? transition(state, { type: "refused", failure }, { now: Date.now(), ready: new Set() }).state
      : supersededState(state, failure);
  const [record] = await readServices(trx, by.key, ended.revision);
  if (record === undefined) return;
  await write(trx, { row, record, news }, { turn: Number(row.turn) + 1, state: ended, events: endOf(ended, record) });
}

function supersededState(state: RolloutState, failure: RolloutState["failure"]): RolloutState {
  const { doing: _, split: __, ...rest } = state;
  return { ...rest, phase: "rolled_back", ...(failure ? { failure } : {}) };
}

const endOf = (state: RolloutState, record: ServiceRecord): JsonObject[] => [
  rolloutEvent(state.rolloutId, endedEvent(state, record)),
];

/** The rows as the rollback found its service. Replicas that it did not find are nobody's: they are ended. */
async function writeFound(trx: Trx, spool: RollbackSpool): Promise<void> {
  const { environment, service } = spool.key;
  const { record, revisions } = copyOf(spool.head.copy);
  const left = new Set(spool.hasGivenUp ? spool.head.givesUp : []);
  const ended = { phase: "stopping", traffic: "none" } as const;
  await trx
    .updateTable("replica")
    .set(ended)
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("phase", "<>", "gone")
    .execute();
  for (const { id, revision, ordinal, phase, traffic, proven } of record.replicas) {
    const what = left.has(id) ? ended : { phase, traffic };
    await trx
      .insertInto("replica")
      .values({ environment, service, replica_id: id, revision: String(revision), ordinal, proven, ...what })
      .onConflict((conflict) => conflict.columns(["environment", "replica_id"]).doUpdateSet(what))
      .execute();
  }
  await trx
    .updateTable("service")
    .set({ traffic_revision: String(record.trafficRevision), split: null })
    .where("environment", "=", environment)
    .where("name", "=", service)
    .execute();
  const target = revisions.find(({ revision }) => revision === spool.head.planned.revision);
  if (target) await ensureRevision(trx, spool.key, target);
}

/** A database that was restored meanwhile may lack what serves. */
async function ensureRevision(trx: Trx, { environment, service }: ServiceKey, target: RevisionRecord): Promise<void> {
  const { revision, manifest, sourceDirectory, releaseDigest, outcome, createdAt, tag, secrets } = target;
  await trx
    .insertInto("revision")
    .values({
      ...{ environment, service, outcome, tag },
      revision: String(revision),
      manifest: JSON.stringify(manifest),
      secrets: JSON.stringify(secrets),
      source_directory: sourceDirectory,
      release_digest: releaseDigest,
      created_at: createdAt,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await trx
    .updateTable("service")
    .set({ next_revision: sql`greatest(next_revision, ${revision + 1})` })
    .where("environment", "=", environment)
    .where("name", "=", service)
    .execute();
}

interface Replay {
  spool: RollbackSpool;
  rolloutId: string;
  news: RolloutNews;
}

async function replay(trx: Trx, { spool, rolloutId, news }: Replay): Promise<void> {
  const { environment, service, principal, version, startedAt, planned, event } = spool.head;
  // A file keeps what the database refuses, and what is refused would keep the service held for ever.
  const reason = storedText(spool.head.reason);
  const state = { ...planned, rolloutId };
  await trx
    .insertInto("rollout")
    .values({
      ...{ environment, service, principal, reason, version },
      rollout_id: rolloutId,
      kind: "rollback",
      phase: state.phase,
      revision: String(state.revision),
      previous_revision: String(state.previousRevision),
      request: JSON.stringify({ away: true }),
      state: storedJson(state),
      started_at: new Date(startedAt),
    })
    .execute();
  await addEvents(trx, { environment, rolloutId, from: 0 }, [named(event, rolloutId)]);
  await news.tell(trx, { state, turn: 0, principal, reason });
  for (const record of spool.records) {
    const row = await rolloutRow(trx, rolloutId);
    if ("said" in record) {
      const events = record.said.map((each) => named(each, rolloutId));
      await addEvents(trx, { environment, rolloutId, from: Number(row.events) }, events);
    }
    if ("turn" in record) await replayTurn(trx, { row, news }, record);
  }
}

async function replayTurn(
  trx: Trx,
  { row, news }: { row: RolloutRow; news: RolloutNews },
  { turn, at, state: spooled, events }: SpooledTurn,
): Promise<void> {
  const state = { ...spooled, rolloutId: row.rollout_id };
  const key = { environment: row.environment, service: row.service };
  const [record] = await readServices(trx, key, state.revision);
  if (record === undefined) return;
  const step = { turn, state, events: events.map((each) => named(each, row.rollout_id)) };
  await write(trx, { row, record, news }, step);
  if (!hasEnded(state)) return;
  const ended_at = new Date(at);
  await trx.updateTable("rollout").set({ ended_at }).where("rollout_id", "=", row.rollout_id).execute();
  if (state.phase !== "succeeded") return;
  await trx
    .updateTable("service")
    .set({ deployed_at: ended_at })
    .where("environment", "=", key.environment)
    .where("name", "=", key.service)
    .execute();
}

const named = (event: JsonObject, rolloutId: string): JsonObject => ({ ...event, rolloutId });

async function write(
  trx: Trx,
  { row, record, news }: { row: RolloutRow; record: ServiceRecord; news: RolloutNews },
  { turn, state, events }: { turn: number; state: RolloutState; events: JsonObject[] },
): Promise<void> {
  const { environment, rollout_id: rolloutId, principal, reason } = row;
  await writeTurn(trx, { row, record, state, turn });
  await addEvents(trx, { environment, rolloutId, from: Number(row.events) }, events);
  await news.tell(trx, { state, turn, principal, reason });
}
