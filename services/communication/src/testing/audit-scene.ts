import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  CheckpointBook,
  type LogReport,
  type LogRow,
  LogVerifier,
  PUBLIC_KEY_FILE,
  readVerificationRoot,
  verificationRootPath,
} from "@hms/audit-log";
import { type AuditSpool, openAuditSpool } from "@hms/audit-spool";
import { audit } from "@hms/contracts";
import { type AuditEvent, anonymous, type Client, type HmsError, Kernel, type Principal } from "@hms/kernel";
import { openAdmin, openServiceDatabase } from "@hms/postgres";
import { openSealingKey } from "@hms/secrets";
import { openTestDatabase, type TestDatabase, tempFolder, waitFor } from "@hms/testkit";
import { CheckpointFiles } from "../audit/checkpoint-files.ts";
import {
  type AuditLog,
  type AuditLogOptions,
  auditLogMigrations,
  type CommunicationTables,
  communicationMigrations,
  openAuditLog,
} from "../index.ts";

/** Somebody who may do everything. */
export const operator: Principal = { kind: "operator", id: "operator" };

/** An audit log with a database, a folder and a client of its own. */
export class AuditScene implements AsyncDisposable {
  readonly failures: HmsError[] = [];
  readonly folder: string;
  readonly own: TestDatabase<CommunicationTables>;
  log: AuditLog | undefined;
  readonly #stack: AsyncDisposableStack;
  #kernel: Kernel | undefined;

  private constructor(own: TestDatabase<CommunicationTables>, stack: AsyncDisposableStack) {
    this.own = own;
    this.folder = stack.use(tempFolder()).path;
    this.#stack = stack;
  }

  static async open(): Promise<AuditScene> {
    const stack = new AsyncDisposableStack();
    const own = stack.use(
      await openTestDatabase<CommunicationTables>({ service: "communication", migrations: communicationMigrations }),
    );
    await using _log = await openServiceDatabase({
      source: own.source,
      service: "audit_log",
      migrations: auditLogMigrations,
    });
    return new AuditScene(own, stack);
  }

  get spools(): string {
    return join(this.folder, "audit");
  }

  /** The spool of a process. */
  spool(name = "server"): AuditSpool {
    return this.#stack.use(openAuditSpool({ directory: join(this.spools, name), heartbeatMs: 0 }));
  }

  /** Opens the log, as a server would that is started. */
  async start(options: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
    this.log = await openAuditLog({
      database: this.own.database,
      spools: this.spools,
      keys: join(this.folder, "keys"),
      sealing: openSealingKey(join(this.folder, "config", "secrets.key")),
      pollMs: 10,
      checkpointMs: 3600_000,
      firstCheckpointMs: 3600_000,
      onFailure: (failure) => this.failures.push(failure),
      ...options,
    });
    this.#kernel = new Kernel({
      identity: { authenticate: () => anonymous },
      policy: { decide: () => ({ allowed: true }) },
      audit: { accepts: true, record: () => {} },
    });
    this.#kernel.register(this.log.registration);
    return this.log;
  }

  async stop(): Promise<void> {
    await this.log?.[Symbol.asyncDispose]();
    this.log = undefined;
  }

  client(principal: Principal = operator): Client<typeof audit.AuditService> {
    return (this.#kernel as Kernel).client(audit.AuditService, principal);
  }

  /** Waits until a chain has so many events. */
  async until(seq: number, shard = "server"): Promise<void> {
    const has = async () =>
      (await this.client().getAuditStatus({})).shards.some((one) => one.shard === shard && Number(one.seq) >= seq);
    await waitFor(has, { describe: `${seq} events in the chain of ${shard}` });
  }

  /** Every row, as the database has it. */
  async rows(): Promise<LogRow[]> {
    const rows: LogRow[] = [];
    for await (const { events } of this.client().exportEvents({})) {
      for (const { columnsJson, seq, ...row } of events) {
        rows.push({ ...row, seq: Number(seq), columns: JSON.parse(columnsJson) });
      }
    }
    return rows;
  }

  /** Every checkpoint that was kept. */
  checkpoints(): string[] {
    return [...new CheckpointFiles(join(this.spools, "checkpoints")).lines()];
  }

  /** Verifies the log as it is. */
  async verify(lines: readonly string[] = this.checkpoints(), isAnchor = false): Promise<LogReport> {
    const keys = join(this.folder, "keys");
    const checkpoints = new CheckpointBook(readFileSync(join(keys, PUBLIC_KEY_FILE), "utf8"));
    for (const line of lines) checkpoints.add(line);
    const sealing = openSealingKey(join(this.folder, "config", "secrets.key"));
    const root = readVerificationRoot(verificationRootPath(keys), sealing);
    const verifier = new LogVerifier({ root, checkpoints, isAnchor });
    for (const row of await this.rows()) verifier.add(row);
    return verifier.finish();
  }

  /** Does to the database what only its administrator can. */
  async tamper(...statements: string[]): Promise<void> {
    await using admin = await openAdmin(this.own.source);
    await admin.query("set session_replication_role = replica");
    await admin.query("set search_path = audit_log, communication");
    for (const statement of statements) await admin.query(statement);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#stack.disposeAsync();
  }
}

/** An event of somebody. */
export function eventOf(init: Partial<AuditEvent> = {}): AuditEvent {
  return {
    time: new Date(),
    principal: { kind: "user", id: "anna", roles: ["doctor"], credential: "key:k1" },
    method: "hms.sys.deployment.v1.DeploymentService/Deploy",
    permission: "services:deploy",
    resource: "receipt-svc",
    outcome: "OK",
    reason: "",
    requestId: "r-1",
    environment: "default",
    way: "http",
    durationMs: 1.5,
    ...init,
  };
}
