import { sql } from "kysely";
import type { Queries } from "../identity-tables.ts";

/** A passkey as its owner sees it. */
interface PasskeyFacts {
  readonly credentialId: string;
  readonly name: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
}

/** What an account has to show beside its password. */
export interface FactorFacts {
  /** Since when an authenticator app is set up; undefined if none is. */
  readonly totpSince: Date | undefined;
  readonly passkeys: readonly PasskeyFacts[];
  /** How many recovery codes are left. */
  readonly codesLeft: number;
}

/** The second factors of an account. */
export async function factorFacts(queries: Queries, accountId: string): Promise<FactorFacts> {
  const totp = await queries
    .selectFrom("totp")
    .select("created_at")
    .where("account_id", "=", accountId)
    .executeTakeFirst();
  const passkeys = await queries
    .selectFrom("passkey")
    .select(["credential_id", "name", "created_at", "last_used_at"])
    .where("account_id", "=", accountId)
    .orderBy("created_at")
    .execute();
  const codes = await queries
    .selectFrom("recovery_code")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("account_id", "=", accountId)
    .executeTakeFirst();
  return {
    totpSince: totp?.created_at,
    passkeys: passkeys.map(
      ({ credential_id: credentialId, name, created_at: createdAt, last_used_at: lastUsedAt }) => ({
        credentialId,
        name,
        createdAt,
        lastUsedAt,
      }),
    ),
    codesLeft: codes?.count ?? 0,
  };
}

/** Whether an account must show a second factor to come in. */
export const hasSecondFactor = ({ totpSince, passkeys }: FactorFacts) => totpSince !== undefined || passkeys.length > 0;

/** Takes every second factor of an account away, and what it has begun with them. */
export async function forgetFactors(queries: Queries, accountId: string): Promise<void> {
  for (const table of ["totp", "passkey", "recovery_code", "ceremony"] as const) {
    await queries.deleteFrom(table).where("account_id", "=", accountId).execute();
  }
}
