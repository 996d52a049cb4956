import { readdirSync, renameSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { deployment } from "@hms/contracts";
import { type CallContext, HmsError } from "@hms/kernel";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import { sql } from "kysely";
import type { EffectParts } from "../effects/effect-scene.ts";
import { lockedBy } from "../errors.ts";
import { refuseTexts } from "../request-texts.ts";
import type { DriverParts } from "../rollout-driver.ts";
import { askedId, newRolloutId, takenId } from "../rollout-id.ts";
import type { RolloutNews } from "../rollout-news.ts";
import { keyText, type ServiceBook } from "../service-book.ts";
import { checkedName } from "../service-name.ts";
import type { ServiceKey, ServiceRecord } from "../service-record.ts";
import { readServices } from "../service-store.ts";
import type { DeploymentTables } from "../tables.ts";
import { chooseRollback } from "./choose-rollback.ts";
import { RollbackSpool } from "./rollback-spool.ts";
import type { ServiceCopies } from "./service-copies.ts";
import type { ServiceCopy } from "./service-copy.ts";
import { takeIn } from "./take-in.ts";

/** What rollbacks stand on while the database is away. */
export interface AwayParts {
  /** Where they are kept. */
  folder: string;
  database: ServiceDatabase<DeploymentTables>;
  book: ServiceBook;
  copies: ServiceCopies;
  effects: EffectParts;
  news: RolloutNews;
  log: Logger;
  signal: AbortSignal;
  /** Resolves once it is known what runs. */
  synced: Promise<void>;
  /** Carries a rollback on to its end; resolves also if it must leave it where it is. */
  drive: (spool: RollbackSpool, onTurn: DriverParts["onTurn"]) => Promise<void>;
  /** Gives up every other rollout of a service. */
  quit: (key: ServiceKey) => void;
  /** Called when a service is held for the first time: what keeps its replicas and traffic has to begin. */
  onHold: () => void;
  /** Called when the database has all of a service again. */
  onSettled: (key: ServiceKey) => Promise<void>;
}

/** The database is waited for this long before it counts as away. */
const AWAY_AFTER_MS = 2_500;
const SILENT_AFTER_MS = 6_000;
/** A person waits this long. */
const PATIENCE_MS = 10_000;
const AGAIN_MS = 500;
const REFUSED_AGAIN_MS = 5_000;
const LOOK_MS = 50;
const GIVE_UP_LIMIT_MS = 60_000;
const SYNC_PATIENCE_MS = 5_000;

/** Rollbacks that are made while the database is away, from their request to the moment at which the database has them. */
export class RollbacksAway {
  readonly #parts: AwayParts;
  /** By service, in their order; until the database has them. */
  readonly #spools = new Map<string, RollbackSpool[]>();
  readonly #settling = new Map<string, Promise<void>>();

  /** Takes up what earlier servers have left. */
  constructor(parts: AwayParts) {
    this.#parts = parts;
    for (const file of spoolFiles(parts.folder)) {
      const spool = this.#open(file);
      if (spool) this.#take(spool);
    }
    for (const [spool] of this.#spools.values()) if (spool) this.#settle(spool.key);
  }

  /** A file that cannot be read stops nothing else: it is put aside. */
  #open(file: string): RollbackSpool | undefined {
    try {
      return RollbackSpool.open(file);
    } catch (error) {
      const aside = `${file}.unreadable`;
      renameSync(file, aside);
      this.#parts.log.error("a rollback that was made without the database cannot be read; it is put aside", {
        file: aside,
        error: HmsError.from(error),
      });
      return undefined;
    }
  }

  /** Begins a rollback if the database is away; undefined if it is not. @throws HmsError as a rollback always does */
  async begin(request: deployment.RollbackRequest, context: CallContext): Promise<string | undefined> {
    const key = keyOf(request);
    refuseTexts({ reason: request.reason });
    const rolloutId = askedId(context.metadata) ?? newRolloutId();
    if (this.#isBegun(rolloutId, { key, context })) return rolloutId;
    this.#refuseRunning(key);
    if (!(await this.isAway())) return undefined;
    const copy = await this.#knownToBook(key);
    if (copy === undefined) return undefined;
    // Somebody else may have been quicker meanwhile, or the same request.
    if (this.#isBegun(rolloutId, { key, context })) return rolloutId;
    this.#refuseRunning(key);
    const { effects, folder, quit } = this.#parts;
    const now = new Date();
    const file = `${folder}/${now.getTime()}-${rolloutId}.spool`;
    const { id: principal } = context.principal;
    const ready = effects.health.readyIds();
    const head = chooseRollback({ request, principal, rolloutId, copy, ready, file, now });
    const spool = RollbackSpool.begin(file, head);
    this.#parts.log.warn("a rollback begins while the database is away", { ...key, rolloutId, file });
    this.#take(spool);
    quit(key);
    this.#settle(key);
    return rolloutId;
  }

  /** Whether the caller has begun this rollback already. @throws HmsError ALREADY_EXISTS if it is another one */
  #isBegun(rolloutId: string, { key, context }: { key: ServiceKey; context: CallContext }): boolean {
    const spool = this.find(rolloutId);
    if (spool === undefined) return false;
    const isSame = spool.key.environment === key.environment && spool.key.service === key.service;
    if (!isSame || spool.head.principal !== context.principal.id) throw takenId(rolloutId);
    return true;
  }

  /** Whether the database does not answer. */
  async isAway(): Promise<boolean> {
    const { db } = this.#parts.database;
    const asked = retryWhileUnavailable(() => sql`select 1`.execute(db), { deadlineMs: AWAY_AFTER_MS });
    const silence = new AbortController();
    try {
      const late = delay(SILENT_AFTER_MS, true, { signal: silence.signal, ref: false });
      return await Promise.race([asked.then(() => false), late]);
    } catch (error) {
      return HmsError.from(error).code === "UNAVAILABLE";
    } finally {
      silence.abort();
    }
  }

  /** The same, and how its replicas do is known, too. */
  async #knownToBook(key: ServiceKey): Promise<ServiceCopy | undefined> {
    const { book, synced } = this.#parts;
    await Promise.race([synced, delay(SYNC_PATIENCE_MS, undefined, { ref: false })]);
    const copy = this.#known(key);
    if (copy && book.get(key) === undefined) book.put(key, copy.record);
    return copy;
  }

  /** What is known of a service without the database. */
  #known(key: ServiceKey): ServiceCopy | undefined {
    const held = this.#of(key).at(-1)?.copy;
    if (held) return held;
    const copy = this.#parts.copies.get(key);
    const record = this.#parts.book.get(key) ?? copy?.record;
    return record && copy && { record, revisions: copy.revisions };
  }

  /** A rollback that the database does not have yet. */
  find(rolloutId: string): RollbackSpool | undefined {
    return [...this.#spools.values()].flat().find(({ head }) => head.rolloutId === rolloutId);
  }

  /** A service as it is, where the database is behind; undefined: the database knows. */
  held(key: ServiceKey): ServiceRecord | undefined {
    return this.#of(key).at(-1)?.copy.record;
  }

  /** What can be said of a service if the database cannot say it, and why; undefined if it can, or nothing is known. */
  async remembered(request: KeyRequest): Promise<{ record: ServiceRecord; notice: string } | undefined> {
    const key = keyOf(request);
    const spool = this.#of(key).at(-1);
    if (spool) return { record: spool.copy.record, notice: behindNotice(spool.file) };
    if (!(await this.isAway())) return undefined;
    const record = (await this.#knownToBook(key))?.record;
    return record && { record, notice: AWAY_NOTICE };
  }

  /** Notes what has proved itself; false if the database is the one to be told. */
  noteProven(key: ServiceKey, id: string, proven: string): boolean {
    const spool = this.#of(key).at(-1);
    spool?.noteProven(id, proven);
    return spool !== undefined;
  }

  /**
   * Resolves when the database has everything of a service.
   * @throws HmsError UNAVAILABLE if that takes longer than a person waits
   */
  async settled(key: ServiceKey): Promise<void> {
    const until = Date.now() + PATIENCE_MS;
    while (this.#parts.book.isHeld(key)) {
      if (Date.now() > until) throw notSettled(key, this.#of(key).at(-1)?.file);
      await delay(LOOK_MS, undefined, { signal: this.#parts.signal });
    }
  }

  #of(key: ServiceKey): RollbackSpool[] {
    return this.#spools.get(keyText(key)) ?? [];
  }

  #refuseRunning(key: ServiceKey): void {
    const running = this.#of(key).find(({ hasEnded }) => !hasEnded);
    if (running === undefined) return;
    const { rolloutId, startedAt, service } = running.head;
    throw lockedBy({ rolloutId, kind: "rollback", service, since: new Date(startedAt) });
  }

  #take(spool: RollbackSpool): void {
    const { key } = spool;
    this.#spools.set(keyText(key), [...this.#of(key), spool]);
    this.#parts.book.hold(key, spool.copy.record);
  }

  #settle(key: ServiceKey): void {
    const name = keyText(key);
    if (this.#settling.has(name)) return;
    const { signal, log } = this.#parts;
    const settling = this.#untilSettled(key)
      .catch((error) => {
        if (!signal.aborted) log.error("a rollback of the time without the database has to wait", { ...key, error });
      })
      .finally(() => {
        this.#settling.delete(name);
        // The database may have gone away again before the end was noticed.
        if (!signal.aborted && this.#of(key).length > 0) this.#settle(key);
      });
    this.#settling.set(name, settling);
  }

  async #untilSettled(key: ServiceKey): Promise<void> {
    const { synced, signal, onHold, onSettled, log } = this.#parts;
    await Promise.race([synced, aborted(signal)]);
    signal.throwIfAborted();
    onHold();
    for (;;) {
      signal.throwIfAborted();
      const running = this.#of(key).find(({ hasEnded }) => !hasEnded);
      if (running) await this.#carryOut(running);
      else if (await this.#tryTakeIn(key)) break;
      else await delay(AGAIN_MS, undefined, { signal });
    }
    log.info("the database has what was rolled back while it was away", { ...key });
    await onSettled(key);
  }

  async #carryOut(spool: RollbackSpool): Promise<void> {
    const { drive, log } = this.#parts;
    await this.#giveUp(spool).catch((error) => {
      if (!this.#parts.signal.aborted) log.warn("what was under way leaves with what served", { ...spool.key, error });
    });
    this.#parts.signal.throwIfAborted();
    await drive(spool, async (key, { record }) => {
      if (record) this.#parts.book.hold(key, record);
    });
  }

  /** Lets what a deploy had brought finish its requests, and ends it: should the rollback fail, it must not come back. */
  async #giveUp(spool: RollbackSpool): Promise<void> {
    const { givesUp, copy } = spool.head;
    if (givesUp.length === 0 || spool.hasGivenUp || spool.row.turn !== "0") return;
    const { traffic, replicas } = this.#parts.effects;
    const signal = AbortSignal.any([this.#parts.signal, AbortSignal.timeout(GIVE_UP_LIMIT_MS)]);
    await traffic.confirm(spool.key, signal);
    const { drainTimeoutMs: timeoutMs = 30_000 } =
      copy.revisions.find(({ revision }) => revision === copy.record.currentRevision)?.manifest.rollout ?? {};
    await traffic.drained(givesUp, { timeoutMs, signal });
    spool.giveUp();
    this.#parts.book.hold(spool.key, spool.copy.record);
    for (const id of givesUp) {
      replicas.stop(id).catch((error) => this.#parts.log.warn("a replica could not be ended yet", { id, error }));
    }
  }

  /** Enters a service's rollbacks in order; true when the database has them all. */
  async #tryTakeIn(key: ServiceKey): Promise<boolean> {
    const { database, book, copies, news, log, signal } = this.#parts;
    const spools = this.#of(key);
    try {
      for (const spool of spools) await database.transaction((trx) => takeIn(trx, spool, news));
      const [record] = await readServices(database.db, key);
      if (this.#of(key).length > spools.length) return false;
      for (const spool of spools) spool.remove();
      this.#spools.delete(keyText(key));
      book.release(key, record);
      const revisions = spools.at(-1)?.copy.revisions ?? [];
      if (record) await copies.take({ record, revisions });
      return true;
    } catch (error) {
      const { code } = HmsError.from(error);
      if (signal.aborted || code === "UNAVAILABLE") return false;
      log.error("the database does not take in a rollback; it is tried again", { ...key, error });
      await delay(REFUSED_AGAIN_MS, undefined, { signal });
      return false;
    }
  }

  /** Leaves everything to the next server. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#settling.values());
    for (const spool of [...this.#spools.values()].flat()) spool.close();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function spoolFiles(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith(".spool"));
    // Their names begin with the time, in as many digits for the next centuries.
    return names.sort().map((name) => `${folder}/${name}`);
  } catch {
    return [];
  }
}

interface KeyRequest {
  environment: string;
  service: string;
}

const AWAY_NOTICE =
  "The database is away: this is what it said last. Only hms-sys rollback changes something without it.";
const behindNotice = (file: string) =>
  `It was rolled back while the database was away. That is kept in ${file}, and not in the history yet.`;

function keyOf(request: KeyRequest): ServiceKey {
  const environment = checkedName("environment", request.environment || "default");
  return { environment, service: checkedName("service", request.service) };
}

function notSettled({ service }: ServiceKey, file: string | undefined): HmsError {
  return new HmsError(
    "UNAVAILABLE",
    `"${service}" was rolled back while the database was away, and the database does not have that yet (${file ?? "it is being entered"}). Try again in a moment.`,
    { reason: "DATABASE_BEHIND" },
  );
}
