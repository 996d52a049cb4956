import { randomBytes } from "node:crypto";
import type { Queries } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";

const COUNT = 10;
/** Of five bits each: more than 128 together, so that a quick hash is enough (OWASP ASVS 5.0, 6.5.2 and 11.5.1). */
const LENGTH = 28;
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";

/** A code of 140 random bits, in seven groups. */
function newCode(): string {
  const letters = [...randomBytes(LENGTH)].map((byte) => LETTERS[byte % 32]).join("");
  return (letters.match(/.{4}/g) ?? []).join("-");
}

/** People type capitals, and leave out dashes. */
const asMade = (code: string) => code.toLowerCase().replace(/[\s-]/g, "");

/** Makes ten codes that are good once each, in place of all earlier ones; only their SHA-256 is kept. */
export async function makeRecoveryCodes(queries: Queries, accountId: string): Promise<string[]> {
  const codes = Array.from({ length: COUNT }, newCode);
  await queries.deleteFrom("recovery_code").where("account_id", "=", accountId).execute();
  await queries
    .insertInto("recovery_code")
    .values(codes.map((code) => ({ account_id: accountId, sha256: sha256(asMade(code)) })))
    .execute();
  return codes;
}

/** Whether a code is one of the account's that is still good. */
export async function hasRecoveryCode(queries: Queries, accountId: string, code: string): Promise<boolean> {
  const found = await queries
    .selectFrom("recovery_code")
    .select("account_id")
    .where("account_id", "=", accountId)
    .where("sha256", "=", sha256(asMade(code)))
    .executeTakeFirst();
  return found !== undefined;
}

/** Uses a code up; false if it is none of the account's. */
export async function useRecoveryCode(queries: Queries, accountId: string, code: string): Promise<boolean> {
  const used = await queries
    .deleteFrom("recovery_code")
    .where("account_id", "=", accountId)
    .where("sha256", "=", sha256(asMade(code)))
    .returning("account_id")
    .executeTakeFirst();
  return used !== undefined;
}
