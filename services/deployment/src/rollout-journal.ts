import type { JsonObject } from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel";
import type { Manifest } from "@hms/manifest";
import { sql, type Transaction } from "kysely";
import { lockedBy, takenOver } from "./errors.ts";
import { lockPreview } from "./previews/preview-store.ts";
import { takenId } from "./rollout-id.ts";
import type { Transition } from "./rollout-machine.ts";
import type { RolloutNews } from "./rollout-news.ts";
import {
  addEvents,
  addRevision,
  lockService,
  oldestRunning,
  type RolloutRow,
  rolloutRow,
  writeTurn,
} from "./rollout-rows.ts";
import { hasEnded, type RolloutAsk, type RolloutKind, type RolloutState } from "./rollout-state.ts";
import { refuseDestroyed } from "./secrets/hold-secrets.ts";
import type { SecretVersions } from "./secrets/secret-tables.ts";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";
import { readServices } from "./service-store.ts";
import { storedJson } from "./stored-json.ts";
import type { DeploymentTables, RolloutRequest } from "./tables.ts";

type Trx = Transaction<DeploymentTables>;

/** The database as the journal uses it. */
export interface JournalDatabase {
  transaction<T>(work: (transaction: Trx) => Promise<T>): Promise<T>;
}

/** Which server carries a rollout on, and whether others still do. */
export interface Carrier {
  /** Unique among the servers of all times. */
  readonly holder: string;
  /** True if the server of that name is known not to exist any more. */
  isGone(holder: string): boolean;
}

/** A revision to be made. */
interface NewRevision {
  manifest: Manifest;
  sourceDirectory: string;
  tag: string;
  secrets: SecretVersions;
  /** Of a release that is there already; default: it is made. */
  releaseDigest?: string;
}

/** A rollout to be written down. */
export interface NewRollout extends ServiceKey {
  rolloutId: string;
  kind: RolloutKind;
  principal: string;
  /** Whose the service is if there was none yet, "user:anna". */
  owner: string;
  version: string;
  request: RolloutRequest;
  /** Why, in the words of whoever asks. */
  reason: string;
  /** For a deploy: the revision to make. */
  revision?: NewRevision;
  /** Versions of secrets that it leads to, if not to those of the current revision; refused if one was destroyed. */
  secrets?: SecretVersions;
  /** True: throw instead of waiting behind another rollout. */
  refuseIfLocked: boolean;
  /** Refuses, by throwing, what its environment has become meanwhile; that stays so until the rollout is written down. */
  admit?: (trx: Transaction<DeploymentTables>) => Promise<void>;
  /** The state and the first event, once the revision's number is known. */
  begin(revision: number, record: ServiceRecord): { state: RolloutState; event: JsonObject };
}

/** What a turn is made of: the rollout and its service as they are, locked against everybody else. */
export interface TurnScene {
  row: RolloutRow;
  state: RolloutState;
  record: ServiceRecord;
}

/** Where a rollout's journal is. */
export interface JournalPosition {
  state: RolloutState;
  /** The service as it is now; undefined if it has been forgotten. */
  record: ServiceRecord | undefined;
  /** Transitions so far. */
  turn: number;
  /** Events so far. */
  events: number;
}

/** The outcome of asking for the right to carry a rollout on. */
export type Claim =
  | { granted: false; ended: true }
  | { granted: true; fence: number; awayMs: number }
  | { granted: false; ended: false; retryMs: number; waitsFor: RolloutRow | undefined };

/** A journal as whoever carries a rollout on uses it. */
export type DriverJournal = Pick<RolloutJournal, "claim" | "beat" | "turn" | "append" | "asks" | "read" | "readEvents">;

/** A server that has not been heard of for this long has lost its rollouts. */
export const LEASE_MS = 10_000;

/** Rollouts in PostgreSQL: every change is one transaction, and each is made once. */
export class RolloutJournal {
  readonly #database: JournalDatabase;
  readonly #carrier: Carrier;
  readonly #news: RolloutNews;

  /** What `news` writes happens with the transition that it is about, or not at all. */
  constructor(database: JournalDatabase, carrier: Carrier, news: RolloutNews) {
    this.#database = database;
    this.#carrier = carrier;
    this.#news = news;
  }

  /**
   * Writes a rollout down, behind those of the same service that have not ended.
   * @throws HmsError ABORTED if there is one and the request does not wait.
   */
  create(rollout: NewRollout): Promise<{ state: RolloutState; record: ServiceRecord }> {
    const { environment, service } = rollout;
    return this.#database.transaction(async (trx) => {
      const made = await madeAlready(trx, rollout);
      if (made) return made;
      await lockPreview(trx, environment, "keep");
      await rollout.admit?.(trx);
      await trx
        .insertInto("service")
        .values({ environment, name: service, owner: rollout.owner })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await lockService(trx, rollout);
      const [record] = await readServices(trx, { environment, service });
      if (record === undefined) throw new HmsError("INTERNAL", "The service's row is gone.");
      const holder = await oldestRunning(trx, rollout);
      if (holder && rollout.refuseIfLocked) {
        throw lockedBy({ rolloutId: holder.rollout_id, kind: holder.kind, service, since: holder.started_at });
      }
      await refuseDestroyed(trx, rollout, rollout.secrets ?? record.revisions.get(record.currentRevision)?.secrets);
      const revision = rollout.revision ? await addRevision(trx, rollout, rollout.revision) : record.currentRevision;
      const { state, event } = rollout.begin(revision, record);
      await this.#insert(trx, rollout, state);
      await addEvents(trx, { environment, rolloutId: rollout.rolloutId, from: 0 }, [event]);
      const { principal, reason } = rollout;
      await this.#news.tell(trx, { state, turn: 0, principal, reason });
      const [fresh = record] = await readServices(trx, { environment, service });
      return { state, record: fresh };
    });
  }

  async #insert(trx: Trx, rollout: NewRollout, state: RolloutState): Promise<void> {
    const { environment, service, rolloutId, kind, principal, version, request, reason } = rollout;
    await trx
      .insertInto("rollout")
      .values({
        environment,
        service,
        rollout_id: rolloutId,
        kind,
        phase: state.phase,
        revision: String(state.revision),
        previous_revision: String(state.previousRevision),
        version,
        principal,
        request: JSON.stringify(request),
        reason,
        state: storedJson(state),
      })
      .execute();
  }

  /** Asks for the right to carry a rollout on; takes it over from a server that is gone or silent. */
  claim(rolloutId: string): Promise<Claim> {
    return this.#database.transaction(async (trx) => {
      const row = await rolloutRow(trx, rolloutId);
      if (row.ended_at) return { granted: false, ended: true };
      await lockService(trx, row);
      const oldest = await oldestRunning(trx, row);
      if (oldest && oldest.rollout_id !== rolloutId)
        return { granted: false, ended: false, retryMs: 500, waitsFor: oldest };
      return this.#claimLock(trx, row);
    });
  }

  async #claimLock(trx: Trx, { environment, service, rollout_id }: RolloutRow): Promise<Claim> {
    const { holder } = this.#carrier;
    const leased_until = sql<Date>`clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'`;
    const own = { rollout_id, holder, leased_until, beat_at: sql<Date>`clock_timestamp()` };
    const lock = await trx
      .selectFrom("rollout_lock")
      .selectAll()
      .select(sql<number>`(extract(epoch from clock_timestamp() - beat_at) * 1000)::float8`.as("silent_ms"))
      .select(sql<number>`(extract(epoch from leased_until - clock_timestamp()) * 1000)::float8`.as("left_ms"))
      .where("environment", "=", environment)
      .where("service", "=", service)
      .executeTakeFirst();
    if (lock === undefined) {
      await trx
        .insertInto("rollout_lock")
        .values({ environment, service, ...own })
        .execute();
      return { granted: true, fence: 1, awayMs: 0 };
    }
    const same = lock.rollout_id === rollout_id;
    const free = lock.left_ms <= 0 || lock.holder === holder || this.#carrier.isGone(lock.holder);
    if (!free)
      return { granted: false, ended: false, retryMs: Math.max(50, Math.min(lock.left_ms, 1000)), waitsFor: undefined };
    const fence = Number(lock.fence) + 1;
    await trx
      .updateTable("rollout_lock")
      .set({ ...own, fence: String(fence) })
      .where("environment", "=", environment)
      .where("service", "=", service)
      .execute();
    return { granted: true, fence, awayMs: same ? Math.max(0, Math.round(lock.silent_ms)) : 0 };
  }

  /** Says that the rollout is still being carried on. @throws HmsError ABORTED if another server does that now. */
  async beat(rolloutId: string, fence: number): Promise<void> {
    await this.#database.transaction(async (trx) => {
      const updated = await trx
        .updateTable("rollout_lock")
        .set({
          beat_at: sql<Date>`clock_timestamp()`,
          leased_until: sql<Date>`clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'`,
        })
        .where("rollout_id", "=", rolloutId)
        .where("holder", "=", this.#carrier.holder)
        .where("fence", "=", String(fence))
        .executeTakeFirst();
      if (updated.numUpdatedRows === 0n) throw takenOver(rolloutId);
    });
  }

  /**
   * Makes the rollout's next transition, once: if its commit had come through although the answer was lost, a second
   * call finds it made and answers with what it led to.
   * @throws HmsError ABORTED if another server carries the rollout on now.
   */
  turn(
    at: { rolloutId: string; fence: number; turn: number },
    decide: (scene: TurnScene) => Transition,
  ): Promise<JournalPosition> {
    return this.#database.transaction(async (trx) => {
      const row = await rolloutRow(trx, at.rolloutId);
      const key = { environment: row.environment, service: row.service };
      await lockService(trx, key);
      const next = at.turn + 1;
      if (Number(row.turn) === next) {
        const [now] = await readServices(trx, key, row.state.revision);
        return { state: row.state, record: now, turn: next, events: Number(row.events) };
      }
      if (Number(row.turn) !== at.turn || !(await this.#holds(trx, at))) throw takenOver(at.rolloutId);
      const [record] = await readServices(trx, key, row.state.revision);
      if (record === undefined) throw takenOver(at.rolloutId);
      const { state, events } = decide({ row, state: row.state, record });
      await writeTurn(trx, { row, record, state, turn: next });
      await addEvents(trx, { ...key, rolloutId: at.rolloutId, from: Number(row.events) }, events);
      const { principal, reason } = row;
      await this.#news.tell(trx, { state, turn: next, principal, reason });
      if (hasEnded(state)) await trx.deleteFrom("rollout_lock").where("rollout_id", "=", at.rolloutId).execute();
      const all = Number(row.events) + events.length;
      const [now] = await readServices(trx, key, state.revision);
      return { state, record: now, turn: next, events: all };
    });
  }

  /**
   * Writes down what somebody asks of the service's rollout whose turn it is, if `check` does not refuse it; answers with
   * its id.
   */
  ask(key: ServiceKey, ask: RolloutAsk, check: (row: RolloutRow | undefined) => void): Promise<string> {
    return this.#database.transaction(async (trx) => {
      await lockService(trx, key);
      const row = await oldestRunning(trx, key);
      check(row);
      if (row === undefined) throw new HmsError("INTERNAL", "A rollout that does not run was asked for something.");
      await trx
        .updateTable("rollout")
        .set({ asked: sql`asked || ${JSON.stringify([ask])}::jsonb` })
        .where("rollout_id", "=", row.rollout_id)
        .execute();
      return row.rollout_id;
    });
  }

  /** What has been asked of a rollout, in order. */
  asks(rolloutId: string): Promise<RolloutAsk[]> {
    return this.#database.transaction(async (trx) => {
      const row = await trx
        .selectFrom("rollout")
        .select("asked")
        .where("rollout_id", "=", rolloutId)
        .executeTakeFirst();
      return row?.asked ?? [];
    });
  }

  async #holds(trx: Trx, { rolloutId, fence }: { rolloutId: string; fence: number }): Promise<boolean> {
    const lock = await trx
      .selectFrom("rollout_lock")
      .select("holder")
      .where("rollout_id", "=", rolloutId)
      .where("holder", "=", this.#carrier.holder)
      .where("fence", "=", String(fence))
      .forUpdate()
      .executeTakeFirst();
    return lock !== undefined;
  }

  /**
   * Adds events between two transitions, once: `from` is how many there are, so a repetition after a lost answer adds
   * nothing. Answers with how many there are then.
   */
  append(at: { environment: string; rolloutId: string; from: number }, events: readonly JsonObject[]): Promise<number> {
    return this.#database.transaction(async (trx) => {
      const row = await trx
        .selectFrom("rollout")
        .select("events")
        .where("rollout_id", "=", at.rolloutId)
        .forUpdate()
        .executeTakeFirst();
      const to = at.from + events.length;
      if (row && Number(row.events) === to) return to;
      if (row === undefined || Number(row.events) !== at.from) throw takenOver(at.rolloutId);
      await addEvents(trx, at, events);
      return to;
    });
  }

  /** A rollout, if there is one of this id. */
  find(rolloutId: string): Promise<RolloutRow | undefined> {
    return this.#database.transaction((trx) =>
      trx.selectFrom("rollout").selectAll().where("rollout_id", "=", rolloutId).executeTakeFirst(),
    );
  }

  /** A rollout. @throws HmsError NOT_FOUND. */
  read(rolloutId: string): Promise<RolloutRow> {
    return this.#database.transaction(async (trx) => rolloutRow(trx, rolloutId));
  }

  /** The events after a sequence, at most 500. */
  readEvents(rolloutId: string, after: number): Promise<{ sequence: number; event: JsonObject }[]> {
    return this.#database.transaction(async (trx) => {
      const rows = await trx
        .selectFrom("rollout_event")
        .select(["sequence", "event"])
        .where("rollout_id", "=", rolloutId)
        .where("sequence", ">", String(after))
        .orderBy("sequence")
        .limit(500)
        .execute();
      return rows.map(({ sequence, event }) => ({ sequence: Number(sequence), event }));
    });
  }

  /** The rollouts that have not ended, oldest first. */
  running(): Promise<RolloutRow[]> {
    return this.#database.transaction((trx) =>
      trx.selectFrom("rollout").selectAll().where("ended_at", "is", null).orderBy("position").execute(),
    );
  }
}

/** A request whose answer was lost is repeated under the same id. */
async function madeAlready(
  trx: Trx,
  { environment, service, rolloutId, principal }: NewRollout,
): Promise<{ state: RolloutState; record: ServiceRecord } | undefined> {
  const row = await trx.selectFrom("rollout").selectAll().where("rollout_id", "=", rolloutId).executeTakeFirst();
  if (row && (row.principal !== principal || row.environment !== environment || row.service !== service)) {
    throw takenId(rolloutId);
  }
  const [record] = row ? await readServices(trx, { environment, service }) : [];
  return row && record ? { state: row.state, record } : undefined;
}
