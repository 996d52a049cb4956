import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type AuditKeys, openAuditKeys } from "@hms/audit-log";
import { spoolLimit } from "@hms/audit-spool";
import { audit } from "@hms/contracts";
import { HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { SealingKey } from "@hms/secrets";
import { sql } from "kysely";
import { auditRegistration } from "./audit-registration.ts";
import type { CommunicationTables } from "./audit-tables.ts";
import { CheckpointFiles } from "./checkpoint-files.ts";
import { CheckpointSink } from "./checkpoint-sink.ts";
import { Checkpointer } from "./checkpointer.ts";
import { LogAppender, type LogBatch } from "./log-appender.ts";
import { LogReader } from "./log-reader.ts";
import { Retention } from "./retention.ts";
import { SpoolDrain } from "./spool-drain.ts";

/** What an audit log is made of. */
export interface AuditLogOptions {
  /** The service's own schema; the log's own, `audit_log`, has to be there, too. */
  readonly database: Pick<ServiceDatabase<CommunicationTables>, "db" | "transaction">;
  /** The folder in which every process of this machine has its spool; checkpoints lie there, too. */
  readonly spools: string;
  /** The folder of its keys, outside of the data directory. */
  readonly keys: string;
  readonly sealing: SealingKey;
  /** Where checkpoints are sent beside the file; default nowhere. */
  readonly sinkUrl?: string | undefined;
  /** Days that are kept; default 400, 7 at least. */
  readonly keepDays?: number | undefined;
  /** How often spools are looked at; default 200 ms. */
  readonly pollMs?: number;
  /** Events that are taken at once; default 2000. */
  readonly batchEvents?: number;
  /** How often a checkpoint is signed at least, and how soon the first one; default each minute, and after 2 s. */
  readonly checkpointMs?: number;
  readonly firstCheckpointMs?: number;
  /** Hears what fails in the background; it is tried again. */
  readonly onFailure?: (error: HmsError) => void;
}

/** A running audit log. */
export interface AuditLog extends AsyncDisposable {
  readonly registration: ServiceRegistration;
  /** Signs a checkpoint now. */
  checkpoint(): Promise<void>;
  /** Removes the days whose time is over by then. */
  removeOld(now: Date): Promise<void>;
}

/**
 * Opens the audit log: takes what spools hold into its chains, signs checkpoints, removes days whose time is over. Without
 * its keys it stands still and every method says why: events wait in their spools, and the rest of the platform goes on.
 */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { database, spools, onFailure: failed = () => {} } = options;
  mkdirSync(spools, { recursive: true, mode: 0o700 });
  const reader = new LogReader(database);
  try {
    const keys = openAuditKeys(options.keys, options.sealing, (await reader.heads()).length > 0);
    return await runLog(options, { reader, keys, failed });
  } catch (error) {
    const failure = HmsError.from(error);
    failed(failure);
    return standingStill(failure);
  }
}

interface LogGround {
  readonly reader: LogReader;
  readonly keys: AuditKeys;
  readonly failed: (error: HmsError) => void;
}

async function runLog(options: AuditLogOptions, { reader, keys, failed }: LogGround): Promise<AuditLog> {
  const { database, spools, keepDays = 400 } = options;
  const appender = new LogAppender(database, keys);
  const files = new CheckpointFiles(`${spools}/checkpoints`);
  const sink = await openSink(options, { files, failed });
  const append = async (batch: LogBatch) => {
    const position = await appender.append(batch);
    checkpointer.noteEvents(batch.events.length);
    return position;
  };
  const checkpointer = new Checkpointer({
    database,
    signer: keys.signer,
    files,
    sink,
    append: (batch) => appender.append(batch),
    ...(options.checkpointMs === undefined ? {} : { everyMs: options.checkpointMs }),
    ...(options.firstCheckpointMs === undefined ? {} : { firstMs: options.firstCheckpointMs }),
    failed,
  });
  const checkpoint = () => checkpointer.make(true);
  const retention = new Retention({ database, append, checkpoint, keepDays, failed });
  const { pollMs = 200, batchEvents: most = 2000 } = options;
  const positionOf = ({ spoolId }: { spoolId: string }) => reader.position(spoolId);
  const drain = new SpoolDrain({ spools, append, positionOf, pollMs, most, failed });
  const registration = auditRegistration({
    reader,
    append,
    waiting: () => drain.waiting(),
    spoolLimit: (shard) => spoolLimit(join(spools, shard)),
    status: () => ({
      ...(checkpointer.last ? { checkpointTime: timestampFromDate(checkpointer.last.time) } : {}),
      checkpointNumber: BigInt(checkpointer.last?.number ?? 0),
      sink: sink?.place ?? "",
      sinkBehind: BigInt(sink?.behind ?? 0),
      failure: (drain.failure ?? checkpointer.failure)?.message ?? "",
      checkpointKey: keys.signer.publicKey,
    }),
  });
  return {
    registration,
    checkpoint,
    removeOld: (now) => retention.removeOld(now),
    async [Symbol.asyncDispose]() {
      await Promise.all([drain.stop(), retention.stop()]);
      await checkpointer.stop();
      await sink?.stop();
    },
  };
}

function standingStill(failure: HmsError): AuditLog {
  const fail = () => {
    throw failure;
  };
  const methods = Object.fromEntries(audit.AuditService.methods.map(({ localName }) => [localName, fail]));
  const failing = async () => fail();
  return {
    registration: implement(audit.AuditService, methods as never),
    checkpoint: failing,
    removeOld: failing,
    [Symbol.asyncDispose]: async () => {},
  };
}

interface SinkGround {
  readonly files: CheckpointFiles;
  readonly failed: (error: HmsError) => void;
}

/** Goes on with the first checkpoint that the sink has not taken. */
async function openSink(
  { database, sinkUrl }: AuditLogOptions,
  { files, failed }: SinkGround,
): Promise<CheckpointSink | undefined> {
  if (sinkUrl === undefined) return undefined;
  const sent = async (number: number) => {
    await sql`update checkpoint_head set sent = ${number} where sent < ${number}`.execute(database.db);
  };
  const sink = new CheckpointSink({ url: sinkUrl, sent, failed });
  const { rows } = await sql<CommunicationTables["checkpoint_head"]>`select * from checkpoint_head`.execute(
    database.db,
  );
  const last = Number(rows[0]?.sent ?? 0);
  for (const { number, line } of files.after(last)) sink.offer(number, line);
  return sink;
}
