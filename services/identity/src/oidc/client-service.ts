import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityClients } from "@hms/contracts";
import { type FieldViolation, HmsError, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import { type Selectable, sql } from "kysely";
import { invalid } from "../errors.ts";
import type { IdentityTables } from "../identity-tables.ts";
import { visibleByName } from "../named-things.ts";
import { newSecret, sha256 } from "../secret-digest.ts";
import type { ServiceGround } from "../service-ground.ts";
import { WHOLE_SCOPE } from "../tokens/access-tokens.ts";
import { isSafeAddress } from "./safe-address.ts";

/** Applications that sign people in, by hms.identity.v1.ClientService. */
export function createClientService({ database, changes, permissions }: ServiceGround): ServiceRegistration {
  return implement(identityClients.ClientService, {
    async createClient({ name, redirectUris, confidential, scopes }, { principal }) {
      assertClient(redirectUris, { scopes, known: [...permissions(), WHOLE_SCOPE] });
      const clientSecret = confidential ? newSecret() : "";
      const row = await database.db
        .insertInto("client")
        .values({
          client_id: `app-${newSecret().slice(0, 22)}`,
          name,
          redirect_uris: [...new Set(redirectUris)],
          scopes: [...new Set(scopes)].sort(),
          secret_sha256: confidential ? sha256(clientSecret) : null,
          created_by: principalName(principal),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      return { client: clientMessage(row), clientSecret };
    },
    async listClients(_, context) {
      const visible = visibleByName(context, "client_id");
      const all = database.db.selectFrom("client").selectAll().where(visible.where);
      const rows = await all.orderBy("name").orderBy("client_id").execute();
      return { clients: rows.filter(visible.allows).map(clientMessage) };
    },
    async deleteClient({ clientId }) {
      const accounts = await database.transaction(async (queries) => {
        const gone = await queries
          .deleteFrom("client")
          .where("client_id", "=", clientId)
          .returning("client_id")
          .executeTakeFirst();
        if (gone === undefined) throw clientUnknown(clientId);
        const { rows } = await sql<{ account_id: string | null }>`
          delete from oidc_artifact where payload ->> 'clientId' = ${clientId} returning account_id`.execute(queries);
        return rows.flatMap(({ account_id: account }) => account ?? []);
      });
      await changes.tell(...[...new Set(accounts)].map((account) => ({ account })));
      return {};
    },
  });
}

function assertClient(
  addresses: readonly string[],
  { scopes, known }: { scopes: readonly string[]; known: readonly string[] },
): void {
  const all = new Set(known);
  const unknown = scopes.flatMap((scope, index): FieldViolation[] => {
    if (all.has(scope)) return [];
    const nearest = nearestName(scope, known);
    const advice = nearest === undefined ? "See them all: hms-sys roles list" : `Did you mean "${nearest}"?`;
    return [{ field: `scopes[${index}]`, description: `"${scope.slice(0, 80)}" is no single permission. ${advice}` }];
  });
  const violations = addresses.flatMap((address, index): FieldViolation[] => {
    if (isSafeAddress(address)) return [];
    const description = `"${address.slice(0, 100)}" must be an https address without a fragment, or http on this machine.`;
    return [{ field: `redirect_uris[${index}]`, description }];
  });
  if (violations.length + unknown.length > 0) throw invalid([...violations, ...unknown]);
}

function clientUnknown(clientId: string): HmsError {
  const message = `There is no application "${clientId.slice(0, 80)}". Look at: hms-sys clients list`;
  return new HmsError("NOT_FOUND", message, { reason: "CLIENT_UNKNOWN" });
}

const clientMessage = (row: Selectable<IdentityTables["client"]>) =>
  create(identityClients.ClientSchema, {
    clientId: row.client_id,
    name: row.name,
    redirectUris: row.redirect_uris,
    confidential: row.secret_sha256 !== null,
    scopes: row.scopes ?? ["*"],
    createdAt: timestampFromDate(row.created_at),
  });
