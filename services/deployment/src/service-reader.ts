import type { CallContext } from "@hms/kernel";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import { noSuchService } from "./errors.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { checkedName, nearestName } from "./service-name.ts";
import type { RevisionRecord, ServiceKey, ServiceRecord } from "./service-record.ts";
import { readRevisions, readRollouts, readServiceNames, readServicePage, readServices } from "./service-store.ts";
import type { DeploymentTables } from "./tables.ts";

type Database = ServiceDatabase<DeploymentTables>["db"];

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;

/** Where the database lacks what was done while it was away. */
export interface DatabaseBehind {
  isHeld(key: ServiceKey): boolean;
  settled(key: ServiceKey): Promise<void>;
}

/** Answers questions about services from the database, waiting for it if it is away. */
export class ServiceReader {
  readonly #db: Database;
  readonly #behind: DatabaseBehind | undefined;

  /** `behind` says where the database does not have everything yet; default: nowhere. */
  constructor(db: Database, behind?: DatabaseBehind) {
    this.#db = db;
    this.#behind = behind;
  }

  /** Resolves when the database has everything of a service. @throws HmsError UNAVAILABLE if that takes too long */
  async settled(key: ServiceKey): Promise<void> {
    if (this.#behind?.isHeld(key)) await this.#behind.settled(key);
  }

  #read<T>(query: (db: Database) => Promise<T>): Promise<T> {
    return retryWhileUnavailable(() => query(this.#db), { deadlineMs: PATIENCE_MS });
  }

  /** A service; undefined if there is none. */
  async find(key: ServiceKey): Promise<ServiceRecord | undefined> {
    const [record] = await this.#read((db) => readServices(db, key));
    if (!this.#behind?.isHeld(key)) return record;
    await this.settled(key);
    return (await this.#read((db) => readServices(db, key)))[0];
  }

  /**
   * A service of a request.
   * @throws HmsError INVALID_ARGUMENT, or NOT_FOUND with the nearest name of those that the caller may read
   */
  async existing(request: { environment: string; service: string }, context: CallContext): Promise<ServiceRecord> {
    const environment = checkedName("environment", request.environment || "default");
    const service = checkedName("service", request.service);
    const record = await this.find({ environment, service });
    if (record) return record;
    const all = await this.#read((db) => readServiceNames(db, environment));
    const filter = context.filter("services:read");
    const visible = all.filter(({ name, owner }) => filter.allows({ name, environment, facts: { owner } }));
    const names = visible.map(({ name }) => name);
    throw noSuchService({ environment, service }, nearestName(service, names));
  }

  /** A page of services by environment and name. */
  page(page: Parameters<typeof readServicePage>[1]): Promise<ServiceRecord[]> {
    return this.#read((db) => readServicePage(db, page));
  }

  /** Every revision of a service, oldest first. */
  revisions(key: ServiceKey): Promise<RevisionRecord[]> {
    return this.#read((db) => readRevisions(db, key));
  }

  /** Which of these services have no replica that is meant to serve. */
  async notServing(environment: string, services: readonly string[]): Promise<string[]> {
    if (services.length === 0) return [];
    const rows = await this.#read((db) =>
      db
        .selectFrom("service")
        .select("name")
        .where("environment", "=", environment)
        .where("name", "in", [...services])
        .where("wanted", ">", 0)
        .execute(),
    );
    const serving = new Set(rows.map(({ name }) => name));
    return services.filter((service) => !serving.has(service));
  }

  /** The newest deploy of a service; undefined if there was none, or it has been forgotten. */
  lastDeploy({ environment, service }: ServiceKey): Promise<RolloutRow | undefined> {
    return this.#read((db) =>
      db
        .selectFrom("rollout")
        .selectAll()
        .where("environment", "=", environment)
        .where("service", "=", service)
        .where("kind", "=", "deploy")
        .orderBy("position", "desc")
        .limit(1)
        .executeTakeFirst(),
    );
  }

  /** A page of a service's rollouts, newest first. */
  rollouts(page: Parameters<typeof readRollouts>[1]) {
    return this.#read((db) => readRollouts(db, page));
  }
}
