import { type ServiceDatabase, translatePgError } from "@hms/postgres";
import { type RawBuilder, sql } from "kysely";
import { tooManyUnfinished } from "../errors.ts";
import type { EndState, OperationRecord, StateName } from "./operation-record.ts";

/** The tables of the integration service's schema; its SQL is written by hand. */
export interface IntegrationTables {
  operation: OperationRecord;
}

/** The service's part of the database. */
export type IntegrationDatabase = Pick<ServiceDatabase<IntegrationTables>, "db">;

/** An operation about to be kept. */
export interface NewOperation
  extends Pick<
    OperationRecord,
    | "operation_id"
    | "environment"
    | "service"
    | "method"
    | "codec"
    | "request"
    | "principal"
    | "principal_facts"
    | "idempotency_key"
    | "request_sha256"
    | "request_id"
    | "traceparent"
    | "callback_service"
    | "callback_method"
  > {
  timeoutMs: number;
  keepMs: number;
}

/** An operation that is this process's to run. */
export interface ClaimedOperation extends OperationRecord {
  /** True if somebody else began its last attempt and went away. */
  orphaned: boolean;
}

/** How an operation ended. */
export interface OperationEnd {
  state: EndState;
  response?: Uint8Array;
  error?: Uint8Array;
}

/** What a worker has room for. */
export interface Claim {
  limit: number;
  /** Principals for whom as much runs already as may at once. */
  others: Iterable<string>;
  leaseMs: number;
}

/** An attempt: whose it is, and the token that fences off older ones. */
export type Attempt = Pick<OperationRecord, "operation_id" | "attempts">;

/** What one principal may have going at once: it can wait for its own, but not fill the database. */
const MOST_UNFINISHED = 10_000;

const CLOCK = sql`clock_timestamp()`;
const inMs = (ms: number) => sql`clock_timestamp() + make_interval(secs => ${ms / 1000}::float8)`;

/** What ending does to a row, whatever the end. */
const ENDED = sql`ended_at = ${CLOCK}, lease_until = null,
  forgotten_at = ${CLOCK} + make_interval(secs => keep_ms / 1000.0::float8),
  callback_at = case when callback_service is null then null else ${CLOCK} end`;

/** The rows of operations; the only place with their SQL. */
export class OperationStore {
  readonly #database: IntegrationDatabase;

  constructor(database: IntegrationDatabase) {
    this.#database = database;
  }

  async #rows<T>(query: RawBuilder<T>): Promise<T[]> {
    try {
      return (await query.execute(this.#database.db)).rows;
    } catch (error) {
      throw translatePgError(error);
    }
  }

  async #one(query: RawBuilder<OperationRecord>): Promise<OperationRecord | undefined> {
    return (await this.#rows(query))[0];
  }

  /**
   * Keeps a new operation; or answers with the one that has its idempotency key.
   * @throws HmsError RESOURCE_EXHAUSTED if 10,000 of the principal's have not ended
   */
  async start(operation: NewOperation): Promise<OperationRecord> {
    const o = operation;
    const added = await this.#one(sql<OperationRecord>`
      insert into operation (operation_id, environment, service, method, codec, request, principal, principal_facts,
        idempotency_key, request_sha256, request_id, traceparent, callback_service, callback_method, state, deadline, keep_ms)
      select ${o.operation_id}, ${o.environment}, ${o.service}, ${o.method}, ${o.codec}, ${o.request}, ${o.principal},
        ${JSON.stringify(o.principal_facts)}::jsonb, ${o.idempotency_key}, ${o.request_sha256}, ${o.request_id},
        ${o.traceparent}, ${o.callback_service}, ${o.callback_method}, 'pending', ${inMs(o.timeoutMs)}, ${o.keepMs}
      where ${MOST_UNFINISHED} > (select count(*) from (
        select from operation where principal = ${o.principal} and state in ('pending', 'running')
        limit ${MOST_UNFINISHED}) unfinished)
      on conflict do nothing returning *`);
    // Nothing was added: the same call came before, by its key or, repeated after a lost answer, by its id.
    const kept = added ?? (await this.#earlier(o));
    if (kept === undefined) throw tooManyUnfinished(o.principal, MOST_UNFINISHED);
    return kept;
  }

  #earlier({ principal, idempotency_key, operation_id }: NewOperation): Promise<OperationRecord | undefined> {
    return this.#one(sql<OperationRecord>`
      select * from operation where operation_id = ${operation_id}
      or (principal = ${principal} and idempotency_key = ${idempotency_key})`);
  }

  /** One operation, if it is the principal's; `principal` undefined: whoever's. */
  find(operationId: string, principal: string | undefined): Promise<OperationRecord | undefined> {
    return this.#one(sql<OperationRecord>`
      select * from operation where operation_id = ${operationId}
      and (${principal ?? null}::text is null or principal = ${principal ?? null})`);
  }

  /** Operations, newest first. */
  list(query: {
    principal: string | undefined;
    state: StateName | undefined;
    after: { createdAt: Date; operationId: string } | undefined;
    limit: number;
    where: RawBuilder<boolean>;
  }): Promise<OperationRecord[]> {
    const conditions: RawBuilder<unknown>[] = [query.where];
    if (query.principal !== undefined) conditions.push(sql`principal = ${query.principal}`);
    if (query.state !== undefined) conditions.push(sql`state = ${query.state}`);
    if (query.after !== undefined) {
      const { createdAt, operationId } = query.after;
      conditions.push(
        sql`(date_trunc('milliseconds', created_at), operation_id) < (${createdAt}, ${operationId}::uuid)`,
      );
    }
    return this.#rows(sql<OperationRecord>`
      select * from operation where ${sql.join(conditions, sql` and `)}
      order by date_trunc('milliseconds', created_at) desc, operation_id desc limit ${query.limit}`);
  }

  /** Takes operations that are due, and those whose runner has gone, for `leaseMs`; none of `others`. */
  claim({ limit, others, leaseMs }: Claim): Promise<ClaimedOperation[]> {
    return this.#rows(sql<ClaimedOperation>`
      with fresh as (
        select operation_id, false as orphaned from operation
        where state = 'pending' and next_at <= ${CLOCK} and deadline > ${CLOCK}
          and principal <> all(${[...others]}::text[])
        order by next_at limit ${limit} for update skip locked
      ), orphans as (
        select operation_id, true as orphaned from operation
        where state = 'running' and lease_until <= ${CLOCK}
        order by lease_until limit ${limit} for update skip locked
      ), due as (
        select * from orphans union all select * from fresh limit ${limit}
      )
      update operation o set state = 'running', attempts = attempts + 1, lease_until = ${inMs(leaseMs)}
      from due where o.operation_id = due.operation_id
      returning o.*, due.orphaned`);
  }

  /** Holds attempts for another `leaseMs`; answers with those that are still this process's. */
  renew(attempts: readonly Attempt[], leaseMs: number): Promise<(Attempt & { cancel_requested: boolean })[]> {
    const ids = attempts.map(({ operation_id }) => operation_id);
    const tokens = attempts.map((attempt) => attempt.attempts);
    return this.#rows(sql<Attempt & { cancel_requested: boolean }>`
      update operation o set lease_until = ${inMs(leaseMs)}
      from unnest(${ids}::uuid[], ${tokens}::integer[]) as mine (operation_id, attempts)
      where o.operation_id = mine.operation_id and o.attempts = mine.attempts and o.state = 'running'
      returning o.operation_id, o.attempts, o.cancel_requested`);
  }

  /** Ends an attempt's operation; undefined if the attempt is no longer the one that counts. */
  end({ operation_id, attempts }: Attempt, end: OperationEnd): Promise<OperationRecord | undefined> {
    return this.#one(sql<OperationRecord>`
      update operation set state = ${end.state}, response = ${end.response ?? null}, error = ${end.error ?? null}, ${ENDED}
      where operation_id = ${operation_id} and attempts = ${attempts} and state = 'running' returning *`);
  }

  /** Lets an operation be tried again after a while. */
  async postpone({ operation_id, attempts }: Attempt, delayMs: number): Promise<void> {
    await this.#rows(sql`
      update operation set state = 'pending', next_at = ${inMs(delayMs)}, lease_until = null
      where operation_id = ${operation_id} and attempts = ${attempts} and state = 'running'`);
  }

  /** Notes the wish to cancel, and ends what does not run; undefined if it has ended already. */
  requestCancel(operationId: string, error: Uint8Array): Promise<OperationRecord | undefined> {
    return this.#one(sql<OperationRecord>`
      update operation set cancel_requested = true,
        state = case when state = 'pending' then 'cancelled' else state end,
        error = case when state = 'pending' then ${error}::bytea else error end,
        ended_at = case when state = 'pending' then ${CLOCK} end,
        forgotten_at = case when state = 'pending' then ${CLOCK} + make_interval(secs => keep_ms / 1000.0::float8) end,
        callback_at = case when state = 'pending' and callback_service is not null then ${CLOCK} end
      where operation_id = ${operationId} and state in ('pending', 'running') returning *`);
  }

  /** Ends what waited for its turn beyond its deadline. */
  expire(error: Uint8Array): Promise<Pick<OperationRecord, "operation_id">[]> {
    return this.#rows(sql<Pick<OperationRecord, "operation_id">>`
      update operation set state = 'timed_out', error = ${error}, ${ENDED}
      where state = 'pending' and deadline <= ${CLOCK} returning operation_id`);
  }

  /** Forgets what has been kept long enough; callbacks that are still due keep it. */
  async forget(): Promise<void> {
    await this.#rows(sql`delete from operation where forgotten_at <= ${CLOCK} and callback_at is null`);
  }

  /** Takes callbacks that are due, for `leaseMs`; none of `others`. */
  claimCallbacks({ limit, others, leaseMs }: Claim): Promise<OperationRecord[]> {
    return this.#rows(sql<OperationRecord>`
      update operation set callback_at = ${inMs(leaseMs)}, callback_attempts = callback_attempts + 1
      where operation_id in (
        select operation_id from operation where callback_at <= ${CLOCK}
          and principal <> all(${[...others]}::text[])
        order by callback_at limit ${limit} for update skip locked)
      returning *`);
  }

  /** Settles a callback: it was answered or given up, or is due again after `delayMs`. */
  async settleCallback(record: OperationRecord, delayMs: number | undefined): Promise<void> {
    await this.#rows(sql`
      update operation set callback_at = ${delayMs === undefined ? sql`null` : inMs(delayMs)}
      where operation_id = ${record.operation_id} and callback_attempts = ${record.callback_attempts}`);
  }
}
