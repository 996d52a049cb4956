import type { SealingKey } from "@hms/secrets";
import type { Selectable } from "kysely";
import type { IdentityTables, Queries } from "../identity-tables.ts";

/** Who gets an account by a provider, and what it begins with. */
export interface SignUpTerms {
  /** Of mail addresses, in small letters; "*": everybody. */
  readonly domains: readonly string[];
  readonly roles: readonly string[];
  readonly groups: readonly string[];
}

/** An outside provider as it is kept. */
export type ProviderRow = Selectable<IdentityTables["identity_provider"]>;

const contextOf = (name: string) => ["identity", "provider", name];

/** The secret of this installation at a provider. */
export function secretOf(sealing: SealingKey, { name, sealed }: ProviderRow): string {
  return sealing.open(Buffer.from(sealed), contextOf(name)).toString();
}

/** What a provider is added with. */
export interface NewProvider {
  readonly name: string;
  readonly displayName: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Undefined: nobody gets an account by it. */
  readonly signUp: SignUpTerms | undefined;
}

/** Adds a provider, or replaces it; its secret is kept sealed. */
export async function putProvider(queries: Queries, sealing: SealingKey, given: NewProvider): Promise<ProviderRow> {
  const { name, displayName, issuer, clientId, clientSecret, signUp } = given;
  const kept = {
    display_name: displayName,
    issuer,
    client_id: clientId,
    sealed: sealing.seal(Buffer.from(clientSecret), contextOf(name)),
    sign_up_domains: signUp === undefined ? null : [...signUp.domains],
  };
  const row = await queries
    .insertInto("identity_provider")
    .values({ name, ...kept })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(kept))
    .returningAll()
    .executeTakeFirstOrThrow();
  await queries.deleteFrom("sign_up_role").where("provider", "=", name).execute();
  await queries.deleteFrom("sign_up_group").where("provider", "=", name).execute();
  const { roles = [], groups = [] } = signUp ?? {};
  const rows = { role: roles.map((role) => ({ provider: name, role })), group: groups.map(groupRow(name)) };
  if (rows.role.length > 0) await queries.insertInto("sign_up_role").values(rows.role).execute();
  if (rows.group.length > 0) await queries.insertInto("sign_up_group").values(rows.group).execute();
  return row;
}

const groupRow = (provider: string) => (group_name: string) => ({ provider, group_name });

/** Who gets an account by a provider; undefined: nobody. */
export async function signUpTerms(
  queries: Queries,
  { name, sign_up_domains: domains }: ProviderRow,
): Promise<SignUpTerms | undefined> {
  if (domains === null) return undefined;
  const roles = await queries.selectFrom("sign_up_role").select("role").where("provider", "=", name).execute();
  const groups = await queries.selectFrom("sign_up_group").select("group_name").where("provider", "=", name).execute();
  return {
    domains,
    roles: roles.map(({ role }) => role).sort(),
    groups: groups.map(({ group_name }) => group_name).sort(),
  };
}

/** Every provider, by name. */
export function listProviders(queries: Queries): Promise<ProviderRow[]> {
  return queries.selectFrom("identity_provider").selectAll().orderBy("name").execute();
}

/** A provider by its name; undefined if there is none. */
export function findProvider(queries: Queries, name: string): Promise<ProviderRow | undefined> {
  return queries.selectFrom("identity_provider").selectAll().where("name", "=", name).executeTakeFirst();
}
