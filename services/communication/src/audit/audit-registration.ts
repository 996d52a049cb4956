import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { LOG_SHARD } from "@hms/audit-log";
import { type RowsAsThings, visibleRows } from "@hms/authorization";
import { audit } from "@hms/contracts";
import { type CallContext, HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import { livesInOneEnvironment, shardReserved } from "../errors.ts";
import { readPageToken, writePageToken } from "./event-page.ts";
import type { LogAppender } from "./log-appender.ts";
import type { FoundEvent, LogReader } from "./log-reader.ts";

const { AuditService, AuditEventSchema } = audit;

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
const DEFAULT_PAGE_SIZE = 100;
const EXPORT_ROWS = 1000;

/** An event is named by what it is about, and lives where that does. */
const THINGS: RowsAsThings<FoundEvent> = {
  columns: { name: sql.ref("resource"), environment: sql.ref("environment") },
  placed: "some",
  thingOf: ({ resource: name, environment }) => ({ name, environment }),
};

/** What the handlers stand on. */
export interface AuditParts {
  readonly reader: LogReader;
  readonly append: LogAppender["append"];
  /** What is known beside the database. */
  readonly status: () => Omit<audit.GetAuditStatusResponse, "$typeName" | "shards">;
  /** Bytes of each spool that are not in the log. */
  readonly waiting: () => Map<string, number>;
  /** Bytes at which a spool takes nothing more. */
  readonly spoolLimit: (shard: string) => number;
}

/** The methods of hms.communication.v1's audit log over their parts. */
export function auditRegistration({ reader, append, status, waiting, spoolLimit }: AuditParts): ServiceRegistration {
  const patiently = <T>(context: CallContext, work: () => Promise<T>): Promise<T> =>
    retryWhileUnavailable(work, { signal: context.signal, deadlineMs: context.remainingMs ?? PATIENCE_MS });

  return implement(AuditService, {
    async searchEvents(request, context) {
      const limit = request.pageSize || DEFAULT_PAGE_SIZE;
      const after = readPageToken(request.pageToken);
      // Who lives in one environment sees nothing of others, and nothing of the platform as a whole.
      const environment = context.principal.environment ?? request.environment;
      if (environment !== request.environment && request.environment !== "") return { events: [] };
      const query = { ...request, environment };
      const found = await visibleRows(context.filter(), THINGS).page({
        limit: limit + 1,
        read: (page) => patiently(context, () => reader.search(query, { ...page, after: page.after ?? after })),
        throwIfEnded: () => context.throwIfEnded(),
      });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      const events = page.map(({ event }) => fromBinary(AuditEventSchema, event));
      return { events, nextPageToken: last ? writePageToken(last) : "" };
    },

    async *exportEvents({ shards }, context) {
      if (context.principal.environment !== undefined) throw livesInOneEnvironment(context.principal.environment);
      const all = await patiently(context, () => reader.shards());
      for (const shard of shards.length === 0 ? all : all.filter((one) => shards.includes(one))) {
        for (let after = { seq: 0, recordedAt: 0 }; ; ) {
          context.throwIfEnded();
          const rows = await patiently(context, () => reader.rows(shard, after, EXPORT_ROWS));
          const last = rows.at(-1);
          if (last === undefined) break;
          after = { seq: last.seq, recordedAt: last.columns.recordedAt ?? 0 };
          yield {
            events: rows.map(({ seq, columns, ...row }) => ({
              ...row,
              seq: BigInt(seq),
              columnsJson: JSON.stringify(columns),
            })),
          };
        }
      }
    },

    async getAuditStatus(_, context) {
      const heads = await patiently(context, () => reader.heads());
      const bytes = waiting();
      const names = new Set([...heads.map(({ shard }) => shard), ...bytes.keys()]);
      const shards = [...names].map((shard) => {
        const head = heads.find((one) => one.shard === shard);
        const waitingBytes = bytes.get(shard) ?? 0;
        return create(audit.AuditShardSchema, {
          shard,
          seq: BigInt(head?.seq ?? 0),
          ...(head?.recordedAt ? { lastEventTime: timestampFromDate(new Date(head.recordedAt / 1000)) } : {}),
          waitingBytes: BigInt(waitingBytes),
          full: waitingBytes >= spoolLimit(shard),
        });
      });
      return { ...status(), shards };
    },

    async appendSpooled({ shard, position, next, events }, context) {
      if (shard === LOG_SHARD) throw shardReserved(shard);
      if (position === undefined || next === undefined)
        throw new HmsError("INVALID_ARGUMENT", "position and next are needed.");
      const place = ({ spoolId, segment, offset }: audit.SpoolPosition) => ({
        spoolId,
        segment: Number(segment),
        offset: Number(offset),
      });
      const from = { position: place(position), next: place(next) };
      const at = (await patiently(context, () => append({ shard, events, from }))) ?? from.next;
      return { position: { spoolId: at.spoolId, segment: BigInt(at.segment), offset: BigInt(at.offset) } };
    },
  });
}
