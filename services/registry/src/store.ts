import type { ServiceDatabase } from "@hms/postgres";
import { type RawBuilder, sql, type Transaction } from "kysely";
import { contractQuery, type StoredContract, storedContract } from "./contract-store.ts";
import { registeredByOther } from "./errors.ts";
import { forgetForeign } from "./foreign-store.ts";
import { likeOperand } from "./id-pattern.ts";
import { deleteIfEmpty, isKey, putInstance, type Registered } from "./instance-rows.ts";
import type { PageEnd, Question } from "./page-token.ts";
import type { Registration } from "./register-request.ts";
import type { ServiceKey } from "./service-key.ts";
import { type Listed, type ListingRow, listedFrom, type ShareOf } from "./service-listing.ts";

interface KeyColumns {
  environment: string;
  service_id: string;
  version: string;
}

/** The tables of the registry's schema. */
export interface RegistryTables {
  service: KeyColumns & { metadata: unknown };
  instance: KeyColumns & {
    instance_id: string;
    address: string;
    alternative_addresses: string[];
    lease_ms: number;
    lease_expires_at: Date;
    lost: boolean;
    registered_by: string;
    replica: string;
    ticket_key: Uint8Array;
  };
  /** sha256 is the digest of what the contract says. */
  contract: KeyColumns & { sha256: Uint8Array; file_descriptor_set: Uint8Array };
  foreign_server: { environment: string; address: string };
}

/** The part of a service's database that the registry uses. */
export type RegistryDatabase = Pick<ServiceDatabase<RegistryTables>, "db" | "transaction" | "listen" | "notify">;

/** What a page of a listing asks for. */
export interface ListingQuery extends Question {
  /** The entry that the page follows; undefined for the first. */
  after: PageEnd | undefined;
  limit: number;
  /** What services have to be beside; default: anything. */
  where?: RawBuilder<boolean>;
}

/** What happened to leases that were due. */
export interface ExpiredLeases {
  /** Services whose instances have changed. */
  changed: ServiceKey[];
  /** Milliseconds until the next lease is due; undefined if none is. */
  nextInMs: number | undefined;
}

/** Which instance goes, and who wants it to. */
export interface Removal {
  instanceId: string;
  /** "user:anna". */
  principal: string;
  /** True if the principal may remove what others have registered. */
  mayReplace: boolean;
}

type Rows<T> = Promise<T[]>;

const keyOf = ({ environment, service_id, version }: KeyColumns): ServiceKey => ({
  environment,
  serviceId: service_id,
  version,
});

const milliseconds = (value: number) => sql`make_interval(secs => ${value}::float8 / 1000)`;

/** Services with their instances, available ones first; `services` is a table or a query of services. */
const listing = (services: RawBuilder<unknown>) => sql<ListingRow>`
  select s.environment, s.service_id, s.version, s.metadata,
    (select encode(c.sha256, 'hex') from contract c
      where (c.environment, c.service_id, c.version) = (s.environment, s.service_id, s.version)) as contract_digest,
    i.instance_id, i.address, i.alternative_addresses, i.replica, i.lease_expires_at,
    i.lease_expires_at > clock_timestamp() as available
  from ${services} s left join instance i using (environment, service_id, version)
  order by s.service_id, s.version, available desc, i.instance_id`;

/** The registry's rows; the only place with its SQL. */
export class RegistryStore {
  readonly #database: RegistryDatabase;
  readonly #shareOf: ShareOf;

  constructor(database: RegistryDatabase, shareOf: ShareOf) {
    this.#database = database;
    this.#shareOf = shareOf;
  }

  async #listed(query: RawBuilder<ListingRow>): Promise<Listed[]> {
    return listedFrom(await this.#rows(query), this.#shareOf);
  }

  async #rows<T>(query: RawBuilder<T>): Rows<T> {
    return (await query.execute(this.#database.db)).rows;
  }

  /**
   * Prolongs the lease of an instance that is available and registered just so: one statement, the way of every renewal.
   * Undefined if there is more to change.
   */
  async renew(registration: Registration): Promise<Registered | undefined> {
    const { instanceId, address, alternativeAddresses, replica, leaseMs, registeredBy, mayReplace } = registration;
    const metadata = JSON.stringify(registration.metadata);
    const [row] = await this.#rows(sql<{ lease_expires_at: Date; ticket_key: Uint8Array }>`
      update instance i
      set lease_expires_at = clock_timestamp() + ${milliseconds(leaseMs)}, lease_ms = ${leaseMs}
      from service s
      where ${isKey("i", registration)} and i.instance_id = ${instanceId} and i.address = ${address} and not i.lost
        and i.alternative_addresses = ${alternativeAddresses}::text[] and i.replica = ${replica}
        and (i.registered_by = ${registeredBy} or ${mayReplace})
        and ${isKey("s", registration)} and (${metadata}::jsonb = '{}' or s.metadata = ${metadata}::jsonb)
      returning i.lease_expires_at, i.ticket_key`);
    return row && { leaseExpiresAt: row.lease_expires_at, ticketKey: new Uint8Array(row.ticket_key), warnings: [] };
  }

  /** Adds an instance, or replaces what is known of it, with its service and contract: all of it or nothing. */
  register(registration: Registration): Promise<Registered> {
    return this.#database.transaction((transaction) => putInstance(transaction, registration));
  }

  /**
   * Removes an instance, and its service if it was the last; false if it was not there.
   * @throws HmsError PERMISSION_DENIED if somebody else registered it.
   */
  unregister(key: ServiceKey, { instanceId, principal, mayReplace }: Removal): Promise<boolean> {
    return this.#database.transaction(async (transaction) => {
      // Locked first, so that an instance that registers now is seen or waits.
      await sql`select from service s where ${isKey("s", key)} for update`.execute(transaction);
      const { rows } = await sql<{ registered_by: string }>`
        delete from instance i where ${isKey("i", key)} and i.instance_id = ${instanceId} returning registered_by
      `.execute(transaction);
      const by = rows[0]?.registered_by;
      if (by && by !== principal && !mayReplace) throw registeredByOther(key, instanceId);
      await forgetForeign(transaction, key.environment, instanceId);
      await deleteIfEmpty(transaction, key);
      return rows.length > 0;
    });
  }

  /** The contract of a service version; undefined if nobody has given it one. */
  async contract(key: ServiceKey): Promise<StoredContract | undefined> {
    return storedContract((await this.#rows(contractQuery(key)))[0]);
  }

  /** One service version with all its instances. */
  async find(key: ServiceKey): Promise<Listed | undefined> {
    const [found] = await this.#listed(listing(sql`(select * from service where ${isKey("service", key)})`));
    return found;
  }

  /** Those of these service versions that are there. */
  async findAll(keys: readonly ServiceKey[]): Promise<Listed[]> {
    const columns = [keys.map((k) => k.environment), keys.map((k) => k.serviceId), keys.map((k) => k.version)];
    const [environments, serviceIds, versions] = columns.map((values) => sql`${values}::text[]`);
    const wanted = sql`(select service.* from service
      join unnest(${environments}, ${serviceIds}, ${versions}) as w (environment, service_id, version)
      using (environment, service_id, version))`;
    return this.#listed(listing(wanted));
  }

  /** A page of services in the order of id and version. */
  async list({ environment, pattern, metadata, after, limit, where }: ListingQuery): Promise<Listed[]> {
    const conditions: RawBuilder<unknown>[] = [sql`environment = ${environment}`];
    if (where) conditions.push(where);
    if (pattern !== "*") conditions.push(sql`service_id like ${likeOperand(pattern)}`);
    if (Object.keys(metadata).length > 0) conditions.push(sql`metadata @> ${JSON.stringify(metadata)}::jsonb`);
    if (after) conditions.push(sql`(service_id, version) > (${after.serviceId}, ${after.version})`);
    const page = sql`(select * from service where ${sql.join(conditions, sql` and `)}
      order by service_id, version limit ${limit})`;
    return this.#listed(listing(page));
  }

  /** The service versions that replicas of these deployed services ("default/echo") answer for. */
  async ofReplicas(deployed: readonly string[]): Promise<ServiceKey[]> {
    const rows = await this.#rows(sql<KeyColumns>`
      select distinct environment, service_id, version from instance
      where replica <> '' and split_part(replica, '/', 1) || '/' || split_part(replica, '/', 2) = any(${deployed}::text[])`);
    return rows.map(keyOf);
  }

  /** The versions a service has, and the ids of all services of its environment. */
  async names({ environment, serviceId }: ServiceKey): Promise<{ versions: string[]; serviceIds: string[] }> {
    const rows = await this.#rows(sql<{ service_id: string; versions: string[] }>`
      select service_id, array_agg(version order by version) as versions
      from service where environment = ${environment} group by service_id`);
    const own = rows.find((row) => row.service_id === serviceId);
    return { versions: own?.versions ?? [], serviceIds: rows.map((row) => row.service_id) };
  }

  /** Gives every lease that nobody could renew for a while a third of its length more from now. */
  async prolongAfterOutage(): Promise<void> {
    await this.#rows(sql`
      update instance set lease_expires_at = clock_timestamp() + make_interval(secs => lease_ms / 3000.0::float8)
      where not lost and lease_expires_at < clock_timestamp() + make_interval(secs => lease_ms / 3000.0::float8)`);
  }

  /** Marks instances as lost whose leases have run out, and forgets those lost for longer than `keepLostMs`. */
  async expire(keepLostMs: number): Promise<ExpiredLeases> {
    const lost = await this.#rows(sql<KeyColumns>`
      update instance set lost = true where not lost and lease_expires_at <= clock_timestamp()
      returning environment, service_id, version`);
    const forgotten = await this.#database.transaction((transaction) => forget(transaction, keepLostMs));
    const [due] = await this.#rows(sql<{ next_in_ms: number | null }>`
      select extract(epoch from least(
        (select min(lease_expires_at) from instance where not lost),
        (select min(lease_expires_at) from instance where lost) + ${milliseconds(keepLostMs)}
      ) - clock_timestamp())::float8 * 1000 as next_in_ms`);
    return { changed: [...lost, ...forgotten].map(keyOf), nextInMs: due?.next_in_ms ?? undefined };
  }
}

/** Like every change of more than one row, it locks services before their instances. */
async function forget(transaction: Transaction<RegistryTables>, keepLostMs: number): Promise<KeyColumns[]> {
  const old = sql`i.lost and i.lease_expires_at <= clock_timestamp() - ${milliseconds(keepLostMs)}`;
  const ofService = sql`(i.environment, i.service_id, i.version) = (s.environment, s.service_id, s.version)`;
  const { rows: services } = await sql<KeyColumns>`
    select environment, service_id, version from service s
    where exists (select from instance i where ${ofService} and ${old})
    order by environment, service_id, version for update`.execute(transaction);
  if (services.length === 0) return [];
  await sql`delete from instance i where ${old}`.execute(transaction);
  for (const service of services) await deleteIfEmpty(transaction, keyOf(service));
  return services;
}
