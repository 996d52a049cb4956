import { randomUUID } from "node:crypto";
import type { AccessRule, PolicyTest } from "@hms/authorization";
import type { ffiOptions } from "@hms/contracts";
import type { TicketRevocation } from "@hms/tickets";
import { type RawBuilder, sql, type Transaction } from "kysely";
import type { ServiceKey } from "../service-key.ts";
import type { RegistryDatabase, RegistryTables } from "../store.ts";

/** A stored policy, and since when it is as it is. */
export interface StoredRule {
  rule: AccessRule;
  changedAt: Date;
}

/** What the tickets for a service version are made of. */
export interface TicketMaterial {
  /** By instance id. */
  keys: Map<string, Uint8Array>;
  /** Identifies the stored contract; undefined without one. */
  contractSha256: string | undefined;
}

interface RuleRow {
  policy_id: string;
  service: string;
  method: string;
  environment: string;
  allowed_roles: string[];
  denied_roles: string[];
  requires_mfa: boolean;
  mfa_max_age_s: number | null;
  audit_level: ffiOptions.AuditLevel;
  cedar: string | null;
  description: string;
  author: string;
  tests: PolicyTest[];
  changed_at: Date;
}

const ruleOf = (row: RuleRow): StoredRule => ({
  changedAt: row.changed_at,
  rule: {
    id: row.policy_id,
    service: row.service,
    method: row.method,
    environment: row.environment,
    allowedRoles: row.allowed_roles,
    deniedRoles: row.denied_roles,
    requiresMfa: row.requires_mfa,
    auditLevel: row.audit_level,
    description: row.description,
    author: row.author,
    tests: row.tests,
    ...(row.mfa_max_age_s === null ? {} : { mfaMaxAgeS: row.mfa_max_age_s }),
    ...(row.cedar === null ? {} : { cedar: row.cedar }),
  },
});

/** The registry's tables of policies, revocations and owners, with their SQL. */
export class AccessStore {
  readonly #database: RegistryDatabase;
  /** Tells this registry's own hints from others'. */
  readonly #self = randomUUID();

  constructor(database: RegistryDatabase) {
    this.#database = database;
  }

  async #rows<T>(query: RawBuilder<T>): Promise<T[]> {
    return (await query.execute(this.#database.db)).rows;
  }

  /** Calls back whenever another registry on this database says that policies have changed, or may have. */
  onPolicies(changed: () => void): Promise<AsyncDisposable> {
    const hint = (from: string | undefined) => from === this.#self || changed();
    return this.#database.listen("policies", hint);
  }

  /** Says so to the others; a hint only. */
  tellPolicies(): Promise<void> {
    return this.#database.notify("policies", this.#self);
  }

  /** Every stored policy. */
  async policies(): Promise<StoredRule[]> {
    return (await this.#rows(sql<RuleRow>`select * from policy`)).map(ruleOf);
  }

  /** Adds or replaces a policy and notes the revocations that go with it, in one transaction, unless `check` throws. */
  putPolicy(rule: AccessRule, revocations: readonly TicketRevocation[], check: () => void): Promise<StoredRule> {
    const { id, service, method, environment, allowedRoles, deniedRoles, requiresMfa, auditLevel } = rule;
    const { mfaMaxAgeS = null, cedar = null, description = "", author = "", tests = [] } = rule;
    return this.#database.transaction(async (transaction) => {
      const { rows } = await sql<RuleRow>`
        insert into policy (policy_id, service, method, environment, allowed_roles, denied_roles, requires_mfa,
          mfa_max_age_s, audit_level, cedar, description, author, tests)
        values (${id}, ${service}, ${method}, ${environment}, ${allowedRoles}::text[], ${deniedRoles}::text[],
          ${requiresMfa}, ${mfaMaxAgeS}, ${auditLevel}, ${cedar}, ${description}, ${author}, ${JSON.stringify(tests)}::jsonb)
        on conflict (policy_id) do update
        set service = excluded.service, method = excluded.method, environment = excluded.environment,
          allowed_roles = excluded.allowed_roles, denied_roles = excluded.denied_roles,
          requires_mfa = excluded.requires_mfa, mfa_max_age_s = excluded.mfa_max_age_s, audit_level = excluded.audit_level, cedar = excluded.cedar,
          description = excluded.description, author = excluded.author, tests = excluded.tests, changed_at = now()
        returning *`.execute(transaction);
      await insertRevocations(transaction, revocations);
      check();
      return ruleOf(rows[0] as RuleRow);
    });
  }

  /** Removes a policy and notes the revocations that go with it, unless `check` throws; false if it was not there. */
  deletePolicy(id: string, revocations: readonly TicketRevocation[], check: () => void): Promise<boolean> {
    return this.#database.transaction(async (transaction) => {
      const { rows } = await sql`delete from policy where policy_id = ${id} returning 1`.execute(transaction);
      if (rows.length === 0) return false;
      await insertRevocations(transaction, revocations);
      check();
      return true;
    });
  }

  /** The policies of the file as they were in force last; undefined if that is not known. */
  async fileRules(): Promise<AccessRule[] | undefined> {
    const [row] = await this.#rows(sql<{ rules: AccessRule[] }>`select rules from policy_file`);
    return row?.rules;
  }

  /** Notes the policies of the file that are in force. */
  async putFileRules(rules: readonly AccessRule[]): Promise<void> {
    await this.#rows(sql`insert into policy_file (rules) values (${JSON.stringify(rules)}::jsonb)
      on conflict (singleton) do update set rules = excluded.rules`);
  }

  /** Notes revocations, and forgets those older than `keptMs`. */
  revoke(revocations: readonly TicketRevocation[], keptMs: number): Promise<void> {
    return this.#database.transaction(async (transaction) => {
      await insertRevocations(transaction, revocations);
      await sql`delete from revocation where revoked_at < now() - make_interval(secs => ${keptMs}::float8 / 1000)`.execute(
        transaction,
      );
    });
  }

  /** The revocations of the last `keptMs`, with their age in milliseconds. */
  async revocations(keptMs: number): Promise<{ revocation: TicketRevocation; ageMs: number }[]> {
    const rows = await this.#rows(sql<{ principal: string; service_id: string; issued_before: number; age: number }>`
      select principal, service_id, extract(epoch from issued_before)::float8 as issued_before,
        extract(epoch from now() - revoked_at)::float8 * 1000 as age
      from revocation where revoked_at >= now() - make_interval(secs => ${keptMs}::float8 / 1000)`);
    return rows.map(({ principal, service_id: serviceId, issued_before: issuedBeforeS, age }) => ({
      revocation: { principal, serviceId, issuedBeforeS },
      ageMs: Math.max(0, age),
    }));
  }

  /**
   * Makes somebody the owner of a service id if nobody is, or if its owner is one of `yielding` and has no available
   * instance there. The owner it has then.
   */
  async claim({ environment, serviceId }: ServiceKey, owner: string, yielding: readonly string[]): Promise<string> {
    const [row] = await this.#rows(sql<{ owner: string }>`
      insert into service_owner as o (environment, service_id, owner) values (${environment}, ${serviceId}, ${owner})
      on conflict (environment, service_id) do update
      set owner = case when o.owner = any(${yielding}::text[]) and not exists (
          select from instance i where i.environment = o.environment and i.service_id = o.service_id
            and not i.lost and i.lease_expires_at > clock_timestamp()
        ) then excluded.owner else o.owner end
      returning o.owner`);
    return (row as { owner: string }).owner;
  }

  /** Who owns a service id; undefined if nobody does. */
  async ownerOf({ environment, serviceId }: ServiceKey): Promise<string | undefined> {
    const [row] = await this.#rows(sql<{ owner: string }>`
      select owner from service_owner where environment = ${environment} and service_id = ${serviceId}`);
    return row?.owner;
  }

  /** Lets anybody claim a service id that has no available instance left. */
  async release({ environment, serviceId }: ServiceKey): Promise<void> {
    await this.#rows(sql`
      delete from service_owner o where o.environment = ${environment} and o.service_id = ${serviceId} and not exists (
        select from instance i where i.environment = o.environment and i.service_id = o.service_id and not i.lost
          and i.lease_expires_at > clock_timestamp())`);
  }

  /** The ticket keys of a service version's instances that know theirs, and which contract it has. */
  async ticketMaterial({ environment, serviceId, version }: ServiceKey): Promise<TicketMaterial> {
    const rows = await this.#rows(sql<{ instance_id: string; ticket_key: Uint8Array; sha256: string | null }>`
      select i.instance_id, i.ticket_key, encode(c.sha256, 'hex') as sha256
      from instance i left join contract c using (environment, service_id, version)
      where i.environment = ${environment} and i.service_id = ${serviceId} and i.version = ${version}
        and not exists (
          select from foreign_server f where f.environment = i.environment and f.address = i.instance_id)`);
    const keys = new Map(rows.map((row) => [row.instance_id, row.ticket_key]));
    return { keys, contractSha256: rows[0]?.sha256 ?? undefined };
  }

  /** The stored contract of a service version; undefined without one. */
  async contract({ environment, serviceId, version }: ServiceKey): Promise<Uint8Array | undefined> {
    const [row] = await this.#rows(sql<{ file_descriptor_set: Uint8Array }>`
      select file_descriptor_set from contract
      where environment = ${environment} and service_id = ${serviceId} and version = ${version}`);
    return row?.file_descriptor_set;
  }
}

async function insertRevocations(
  transaction: Transaction<RegistryTables>,
  revocations: readonly TicketRevocation[],
): Promise<void> {
  for (const { principal, serviceId, issuedBeforeS } of revocations) {
    await sql`insert into revocation (principal, service_id, issued_before)
      values (${principal}, ${serviceId}, to_timestamp(${issuedBeforeS}))`.execute(transaction);
  }
}
