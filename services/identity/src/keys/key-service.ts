import { create } from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityKeys } from "@hms/contracts";
import { implement, type Principal, type ServiceRegistration } from "@hms/kernel";
import { assertFresh } from "../accounts/step-up.ts";
import { gone, invalid } from "../errors.ts";
import { visibleByName } from "../named-things.ts";
import { unknownPermissions } from "../roles/known-permissions.ts";
import type { ServiceGround } from "../service-ground.ts";
import { insertKey, type KeyRow } from "./key-store.ts";

const DEFAULT_LIFETIME_SECONDS = 90 * 86_400;

/** API keys, by hms.identity.v1.KeyService. */
export function createKeyService(ground: ServiceGround): ServiceRegistration {
  const { database, changes, actingFor, judge, instance } = ground;
  return implement(identityKeys.KeyService, {
    async createKey({ user, name, scopes, lifetime }, context) {
      const { principal } = context;
      const wrong = unknownPermissions("scopes", scopes, ground.permissions());
      if (wrong.length > 0) throw invalid(wrong);
      const account = await actingFor.target(database.db, context, { name: user, permission: "keys:create" });
      // Who holds the key becomes that account, within the scopes.
      if (account.account_id !== principal.id) actingFor.assertCovers(principal, account.roles);
      if (principal.scopes !== undefined) actingFor.assertHolds(principal, scopes.length === 0 ? ["*"] : scopes);
      if (scopes.length === 0) assertFresh(principal);
      const lifetimeSeconds = lifetimeOf(lifetime, principal);
      const terms = { accountId: account.account_id, name, scopes, lifetimeSeconds, instance };
      const { row, text } = await insertKey(database.db, terms);
      return { key: keyMessage(row), secret: text };
    },
    async listKeys({ user }, context) {
      const visible = visibleByName(context, "key_id");
      const account = await actingFor.target(database.db, context, { name: user, permission: "keys:read" });
      const rows = await database.db
        .selectFrom("api_key")
        .selectAll()
        .where("account_id", "=", account.account_id)
        .where(visible.where)
        .orderBy("created_at", "desc")
        .execute();
      return { keys: rows.filter(visible.allows).map(keyMessage) };
    },
    async revokeKey({ keyId }, { principal }) {
      const row = await database.db.selectFrom("api_key").selectAll().where("key_id", "=", keyId).executeTakeFirst();
      const isOwn = row?.account_id === principal.id;
      if (row === undefined || (!isOwn && !judge.may(principal, "keys:revoke"))) throw gone("key", keyId);
      await database.db
        .updateTable("api_key")
        .set({ revoked_at: row.revoked_at ?? new Date() })
        .where("key_id", "=", keyId)
        .execute();
      await changes.tell({ account: row.account_id });
      return {};
    },
  });
}

/** Who came in by a key makes none that lives longer. */
function lifetimeOf(asked: Duration | undefined, { kind, authenticatedAtMs, endsAtMs }: Principal): number {
  const isByKey = kind !== "operator" && authenticatedAtMs === undefined && endsAtMs !== undefined;
  const most = isByKey ? Math.floor((endsAtMs - Date.now()) / 1000) : Number.POSITIVE_INFINITY;
  if (asked === undefined) return Math.min(DEFAULT_LIFETIME_SECONDS, most);
  const seconds = Math.ceil(durationMs(asked) / 1000);
  if (seconds <= most) return seconds;
  const description = `must end with the key that makes it, in ${most} seconds. Sign in to make one that lives longer.`;
  throw invalid([{ field: "lifetime", description }]);
}

function keyMessage(row: KeyRow): identityKeys.ApiKey {
  return create(identityKeys.ApiKeySchema, {
    keyId: row.key_id,
    name: row.name,
    scopes: row.scopes,
    createdAt: timestampFromDate(row.created_at),
    expiresAt: timestampFromDate(row.expires_at),
    ...(row.last_used_at === null ? {} : { lastUsedAt: timestampFromDate(row.last_used_at) }),
    ...(row.revoked_at === null ? {} : { revokedAt: timestampFromDate(row.revoked_at) }),
  });
}
