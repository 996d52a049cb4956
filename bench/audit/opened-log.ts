import { readFileSync } from "node:fs";
import {
  CheckpointBook,
  checkpointLines,
  LogVerifier,
  PUBLIC_KEY_FILE,
  readVerificationRoot,
  verificationRootPath,
} from "@hms/audit-log";
import { type AuditSpool, openAuditSpool } from "@hms/audit-spool";
import { audit } from "@hms/contracts";
import { anonymous, type Client, Kernel } from "@hms/kernel";
import { openServiceDatabase } from "@hms/postgres";
import { openSealingKey } from "@hms/secrets";
import {
  auditLogMigrations,
  type CommunicationTables,
  communicationMigrations,
  openAuditLog,
} from "@hms/service-communication";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { treeCpuSeconds } from "../support/process-cpu.ts";

/** A spool and the log behind it in one process, as a server has them, on the embedded PostgreSQL as in production. */
export interface OpenedLog extends AsyncDisposable {
  readonly version: string;
  readonly spool: AuditSpool;
  /** CPU time of this process and of PostgreSQL so far, milliseconds. */
  cpuMs(): { own: number; database: number };
  /** Events of the spool that are in the log, committed. */
  logged(): Promise<number>;
  /** Verifies the whole log; answers with its events. */
  verify(): Promise<number>;
  /** Inserts one event as an ordinary table would take it, in a transaction of its own. */
  insert(n: number): Promise<void>;
}

export async function openLog(): Promise<OpenedLog> {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const { source, pid } = stack.use(await startTestPostgres(paths, { settings: "" }));
  const options = { source, service: "communication", migrations: communicationMigrations };
  const database = stack.use(await openServiceDatabase<CommunicationTables>(options));
  await using _log = await openServiceDatabase({ source, service: "audit_log", migrations: auditLogMigrations });
  const sealing = openSealingKey(paths.sealingKey);
  const spool = stack.use(openAuditSpool({ directory: `${paths.audit}/server`, heartbeatMs: 0 }));
  const fail = (error: Error) => process.stderr.write(`${error.message}\n`);
  const ground = { database, spools: paths.audit, keys: paths.auditKeys, sealing, onFailure: fail };
  const log = stack.use(await openAuditLog(ground));
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(log.registration);
  const client = kernel.client(audit.AuditService, { kind: "operator", id: "operator" });
  const { db } = database;
  const { rows } = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(db);
  await sql`create table plain (id bigserial primary key, time timestamptz, actor text, method text, resource text,
    environment text, request_id text, details jsonb)`.execute(db);
  const owned = stack.move();
  return {
    version: `PostgreSQL ${rows[0]?.version}, fsync on`,
    spool,
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return { own: (user + system) / 1000, database: treeCpuSeconds(pid) * 1000 };
    },
    logged: async () => {
      const { rows: heads } = await sql<{ seq: string }>`select seq from shard_head where shard = 'server'`.execute(db);
      return Number(heads[0]?.seq ?? 0);
    },
    verify: () => verified(client, paths, sealing),
    insert: async (n) => {
      await sql`insert into plain (time, actor, method, resource, environment, request_id, details) values (now(),
        'user:anna', 'hms.sys.deployment.v1.DeploymentService/Deploy', ${`svc-${n}`}, 'default', ${`r-${n}`},
        ${JSON.stringify({ permission: "services:deploy", outcome: "OK", duration: 1.5 })}::jsonb)`.execute(db);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function verified(
  client: Client<typeof audit.AuditService>,
  { audit: spools, auditKeys }: { audit: string; auditKeys: string },
  sealing: ReturnType<typeof openSealingKey>,
): Promise<number> {
  const checkpoints = new CheckpointBook(readFileSync(`${auditKeys}/${PUBLIC_KEY_FILE}`, "utf8"));
  for (const line of checkpointLines(`${spools}/checkpoints`)) checkpoints.add(line);
  const verifier = new LogVerifier({
    root: readVerificationRoot(verificationRootPath(auditKeys), sealing),
    checkpoints,
  });
  for await (const { events } of client.exportEvents({})) {
    for (const { columnsJson, seq, ...row } of events) {
      verifier.add({ ...row, seq: Number(seq), columns: JSON.parse(columnsJson) });
    }
  }
  const { events, integrity, completeness } = verifier.finish();
  const [problem] = [...integrity, ...completeness];
  if (problem) throw new Error(`The log is not sound: ${problem.shard} ${problem.seq}: ${problem.what}`);
  return events;
}
