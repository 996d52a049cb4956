import type { CallContext } from "@hms/kernel";
import { sql } from "kysely";
import { secretInUse } from "./secret-errors.ts";
import type { SecretParts } from "./secret-service.ts";
import { destroyVersions, lockSecrets, readSecretUsers, readVersions, type SecretKey } from "./secret-store.ts";
import { isMeant, visibleUses } from "./secret-uses.ts";

/**
 * Destroys every version of a secret; answers with the services, of those that the caller may read, that had it and are not
 * meant to run.
 * @throws HmsError FAILED_PRECONDITION while one that is meant to run has it, or a rollout leads there
 */
export async function removeSecret(
  { database, vault }: Pick<SecretParts, "database" | "vault">,
  key: SecretKey,
  context: CallContext,
): Promise<string[]> {
  const { environment, name } = key;
  const filter = context.filter("services:read");
  const { versions, left } = await database.transaction(async (trx) => {
    await lockSecrets(trx, environment, [name]);
    const users = (await readSecretUsers(trx, [environment])).filter(({ secrets }) => secrets[name] !== undefined);
    const rolledOut = await sql<{ service: string }>`select distinct r.service from rollout r join revision v
      on (v.environment, v.service) = (r.environment, r.service) and v.revision in (r.revision, r.previous_revision)
      where r.environment = ${environment} and r.ended_at is null and v.secrets -> ${name} is not null`.execute(trx);
    const busy = new Set(rolledOut.rows.map(({ service }) => service));
    const used = users.filter((user) => isMeant(user) || busy.has(user.service));
    const known = new Set(users.map(({ service }) => service));
    const services = visibleUses(used, name, filter).map(({ service }) => service);
    const hidden = used.length - services.length + [...busy].filter((service) => !known.has(service)).length;
    if (services.length + hidden > 0) throw secretInUse(name, services, hidden);
    const found = (await readVersions(trx, [key])).map(({ version }) => version);
    await destroyVersions(trx, key, found);
    await trx
      .updateTable("secret")
      .set({ removed_at: sql<Date>`clock_timestamp()` })
      .where("environment", "=", environment)
      .where("name", "=", name)
      .execute();
    return { versions: found, left: users };
  });
  vault.forget(key, versions);
  return visibleUses(left, name, filter).map(({ service }) => service);
}
