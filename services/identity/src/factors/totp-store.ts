import type { SealingKey } from "@hms/secrets";
import { sql } from "kysely";
import type { Queries } from "../identity-tables.ts";
import { stepOfCode } from "./totp.ts";

const contextOf = (accountId: string) => ["identity", "totp", accountId];

/** Makes a secret an account's, sealed; the code by which it was confirmed is used up. */
export async function putTotp(
  queries: Queries,
  sealing: SealingKey,
  { accountId, secret, step }: { accountId: string; secret: Buffer; step: number },
): Promise<void> {
  const sealed = sealing.seal(secret, contextOf(accountId));
  await queries
    .insertInto("totp")
    .values({ account_id: accountId, sealed, last_step: String(step) })
    .onConflict((conflict) =>
      conflict
        .column("account_id")
        .doUpdateSet({ sealed, last_step: String(step), created_at: sql<Date>`clock_timestamp()` }),
    )
    .execute();
}

/** Whether a code is good for an account now; of those who show it at the same time, for one. */
export async function useTotp(
  queries: Queries,
  sealing: SealingKey,
  { accountId, code, nowMs = Date.now() }: { accountId: string; code: string; nowMs?: number },
): Promise<boolean> {
  const row = await queries.selectFrom("totp").select("sealed").where("account_id", "=", accountId).executeTakeFirst();
  if (row === undefined) return false;
  // A code that is none asks the database as a used one does: how long the answer takes does not tell them apart.
  const step = stepOfCode(sealing.open(Buffer.from(row.sealed), contextOf(accountId)), code, nowMs) ?? -1;
  const used = await queries
    .updateTable("totp")
    .set({ last_step: String(step) })
    .where("account_id", "=", accountId)
    // Not only this code: one that was shown before it is over, too.
    .where("last_step", "<", String(step))
    .returning("account_id")
    .executeTakeFirst();
  return used !== undefined;
}
