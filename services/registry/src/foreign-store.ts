import { sql, type Transaction } from "kysely";
import { deleteIfEmpty, isKey, putInstance } from "./instance-rows.ts";
import type { Registration } from "./register-request.ts";
import { keyText, type ServiceKey } from "./service-key.ts";
import type { RegistryDatabase, RegistryTables } from "./store.ts";

/** A stock gRPC server that the registry keeps available while it lives; each of its services has it as an instance. */
export interface ForeignServer {
  environment: string;
  /** "grpc://127.0.0.1:50051"; also the id of its instances. */
  address: string;
  /** Full names of services; empty: all that it has. */
  services: readonly string[];
  /** The version of packages that name none. */
  defaultVersion: string;
  metadata: Readonly<Record<string, string>>;
  /** The principal who named it. */
  registeredBy: string;
}

interface ForeignRow {
  environment: string;
  address: string;
  services: string[];
  default_version: string;
  metadata: Record<string, string>;
  registered_by: string;
}

interface RenewedRow extends KeyRow {
  was_lost: boolean;
}

/** The registry's rows of stock gRPC servers. */
export class ForeignStore {
  readonly #database: RegistryDatabase;

  constructor(database: RegistryDatabase) {
    this.#database = database;
  }

  /** Every server that was named and not removed since. */
  async list(): Promise<ForeignServer[]> {
    const { rows } = await sql<ForeignRow>`
      select environment, address, services, default_version, metadata, registered_by from foreign_server
      order by environment, address`.execute(this.#database.db);
    return rows.map(({ default_version: defaultVersion, registered_by: registeredBy, ...row }) => ({
      ...row,
      defaultVersion,
      registeredBy,
    }));
  }

  /**
   * Notes a server and registers it as an instance of its services; it goes from services that it has no longer. All of it
   * or nothing. What has changed; undefined if `onlyIfKnown` and the server was removed meanwhile.
   */
  put(
    server: ForeignServer,
    registrations: readonly Registration[],
    { onlyIfKnown }: { onlyIfKnown: boolean },
  ): Promise<ServiceKey[] | undefined> {
    return this.#database
      .transaction(async (transaction) => {
        // Services first, in one order, like everybody who locks more than one row.
        const { rows } = await sql<KeyRow>`
        select environment, service_id, version from instance
        where environment = ${server.environment} and instance_id = ${server.address}`.execute(transaction);
        const offered = new Map(registrations.map((registration) => [keyText(registration), registration]));
        const keys = new Map([...rows.map(keyOf), ...registrations].map((key) => [keyText(key), key]));
        for (const [text, key] of [...keys].sort(([a], [b]) => (a < b ? -1 : 1))) {
          const registration = offered.get(text);
          if (registration) await putInstance(transaction, registration);
          else await removeInstance(transaction, key, server.address);
        }
        if (!(await putServer(transaction, server, onlyIfKnown))) throw new Removed();
        return [...keys.values()];
      })
      .catch((error) => {
        if (error instanceof Removed) return undefined;
        throw error;
      });
  }

  /** Prolongs the leases of all instances of a server; those that were lost are available again, and are returned. */
  async renew(
    { environment, address }: ForeignServer,
    leaseMs: number,
  ): Promise<{ count: number; back: ServiceKey[] }> {
    const { rows } = await sql<RenewedRow>`
      with old as (
        select environment, service_id, version, instance_id, lost from instance
        where environment = ${environment} and instance_id = ${address} order by service_id, version for update
      )
      update instance i
      set lost = false, lease_expires_at = clock_timestamp() + make_interval(secs => ${leaseMs}::float8 / 1000)
      from old
      where (i.environment, i.service_id, i.version, i.instance_id)
        = (old.environment, old.service_id, old.version, old.instance_id)
      returning i.environment, i.service_id, i.version, old.lost as was_lost`.execute(this.#database.db);
    const back = rows.filter((row) => row.was_lost);
    return { count: rows.length, back: back.map(keyOf) };
  }
}

/** Undoes what was written for a server that is not wanted any more. */
class Removed extends Error {}

interface KeyRow {
  environment: string;
  service_id: string;
  version: string;
}

const keyOf = ({ environment, service_id: serviceId, version }: KeyRow): ServiceKey => ({
  environment,
  serviceId,
  version,
});

async function removeInstance(
  transaction: Transaction<RegistryTables>,
  key: ServiceKey,
  instanceId: string,
): Promise<void> {
  await sql`select from service s where ${isKey("s", key)} for update`.execute(transaction);
  await sql`delete from instance i where ${isKey("i", key)} and i.instance_id = ${instanceId}`.execute(transaction);
  await deleteIfEmpty(transaction, key);
}

/** False if it has to be known already and is not. */
async function putServer(
  transaction: Transaction<RegistryTables>,
  server: ForeignServer,
  onlyIfKnown: boolean,
): Promise<boolean> {
  const { environment, address, services, defaultVersion, metadata, registeredBy } = server;
  const { rows } = await sql`
    insert into foreign_server (environment, address, services, default_version, metadata, registered_by)
    select ${environment}, ${address}, ${services}::text[], ${defaultVersion}, ${JSON.stringify(metadata)}::jsonb,
      ${registeredBy}
    where not ${onlyIfKnown}::boolean
      or exists (select from foreign_server where environment = ${environment} and address = ${address})
    on conflict (environment, address) do update
    set services = excluded.services, default_version = excluded.default_version, metadata = excluded.metadata
    returning 1`.execute(transaction);
  return rows.length > 0;
}

/** Forgets a server whose last instance was removed. */
export async function forgetForeign(
  transaction: Transaction<RegistryTables>,
  environment: string,
  address: string,
): Promise<void> {
  await sql`
    delete from foreign_server where environment = ${environment} and address = ${address} and not exists (
      select from instance where environment = ${environment} and instance_id = ${address})
  `.execute(transaction);
}
