import { randomBytes } from "node:crypto";
import { type RawBuilder, sql, type Transaction } from "kysely";
import type { ToldDifference } from "./contract-comparison.ts";
import { agreeOnContract } from "./contract-store.ts";
import { registeredByOther } from "./errors.ts";
import type { Registration } from "./register-request.ts";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryTables } from "./store.ts";

const TICKET_KEY_BYTES = 32;

/** An instance that has been registered. */
export interface Registered {
  leaseExpiresAt: Date;
  /** By which it checks tickets; a secret. */
  ticketKey: Uint8Array<ArrayBuffer>;
  /** What is worth a look in its contract. */
  warnings: ToldDifference[];
}

/** The condition that names one service version in a table. */
export const isKey = (table: string, { environment, serviceId, version }: ServiceKey): RawBuilder<boolean> => {
  const column = (name: string) => sql.ref(`${table}.${name}`);
  return sql`${column("environment")} = ${environment} and ${column("service_id")} = ${serviceId} and ${column("version")} = ${version}`;
};

/** Removes a service version that has no instances left; its row is locked. */
export async function deleteIfEmpty(transaction: Transaction<RegistryTables>, key: ServiceKey): Promise<void> {
  await sql`
    delete from service s where ${isKey("s", key)} and not exists (select from instance i where ${isKey("i", key)})
  `.execute(transaction);
}

/**
 * Adds an instance, or replaces what is known of it, with its service and contract.
 * @throws HmsError PERMISSION_DENIED if somebody else registered it, FAILED_PRECONDITION if its contract breaks callers.
 */
export async function putInstance(
  transaction: Transaction<RegistryTables>,
  registration: Registration,
): Promise<Registered> {
  const { environment, serviceId, version, instanceId, address, alternativeAddresses, leaseMs } = registration;
  const { registeredBy, replica, mayReplace, contract } = registration;
  const key = sql`${environment}, ${serviceId}, ${version}`;
  const metadata = JSON.stringify(registration.metadata);
  await sql`
    insert into service (environment, service_id, version, metadata) values (${key}, ${metadata}::jsonb)
    on conflict (environment, service_id, version) do update
    set metadata = case when excluded.metadata = '{}' then service.metadata else excluded.metadata end
  `.execute(transaction);
  const warnings = contract ? await agreeOnContract(transaction, registration, contract) : [];
  const { rows } = await sql<{ lease_expires_at: Date; ticket_key: Uint8Array }>`
    insert into instance as i (environment, service_id, version, instance_id, address, alternative_addresses, lease_ms,
      lease_expires_at, registered_by, replica, ticket_key)
    values (${key}, ${instanceId}, ${address}, ${alternativeAddresses}::text[], ${leaseMs},
      clock_timestamp() + make_interval(secs => ${leaseMs}::float8 / 1000), ${registeredBy}, ${replica},
      ${randomBytes(TICKET_KEY_BYTES)})
    on conflict (environment, service_id, version, instance_id) do update
    set address = excluded.address, alternative_addresses = excluded.alternative_addresses, replica = excluded.replica,
      lease_ms = excluded.lease_ms, lease_expires_at = excluded.lease_expires_at, lost = false,
      registered_by = case when i.registered_by = '' then excluded.registered_by else i.registered_by end
    where i.registered_by in ('', excluded.registered_by) or ${mayReplace}
    returning i.lease_expires_at, i.ticket_key
  `.execute(transaction);
  const [row] = rows;
  if (row === undefined) throw registeredByOther(registration, instanceId);
  return { leaseExpiresAt: row.lease_expires_at, ticketKey: new Uint8Array(row.ticket_key), warnings };
}
