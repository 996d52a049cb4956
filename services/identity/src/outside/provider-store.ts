import type { SealingKey } from "@hms/secrets";
import type { Selectable } from "kysely";
import type { IdentityTables, Queries } from "../identity-tables.ts";

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
}

/** Adds a provider, or replaces it; its secret is kept sealed. */
export function putProvider(queries: Queries, sealing: SealingKey, given: NewProvider): Promise<ProviderRow> {
  const { name, displayName, issuer, clientId, clientSecret } = given;
  const kept = {
    display_name: displayName,
    issuer,
    client_id: clientId,
    sealed: sealing.seal(Buffer.from(clientSecret), contextOf(name)),
  };
  return queries
    .insertInto("identity_provider")
    .values({ name, ...kept })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(kept))
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Every provider, by name. */
export function listProviders(queries: Queries): Promise<ProviderRow[]> {
  return queries.selectFrom("identity_provider").selectAll().orderBy("name").execute();
}

/** A provider by its name; undefined if there is none. */
export function findProvider(queries: Queries, name: string): Promise<ProviderRow | undefined> {
  return queries.selectFrom("identity_provider").selectAll().where("name", "=", name).executeTakeFirst();
}
