import { invalid } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";
import { type Grant, narrowed, scopesOf } from "../oidc/grant-scopes.ts";

/** How the grant of a program is named to people: its id would be a secret. */
export const PROGRAM_PREFIX = "program-";

const digestOf = (sessionId: string) => Buffer.from(sessionId.slice(PROGRAM_PREFIX.length), "hex");

/** Ends a signed-in program: its grant with every token of it. True if there was one. */
export async function endProgram(queries: Queries, sessionId: string): Promise<boolean> {
  const digest = digestOf(sessionId);
  await queries.deleteFrom("oidc_artifact").where("grant_sha256", "=", digest).execute();
  const ended = await queries
    .deleteFrom("oidc_artifact")
    .where("kind", "=", "Grant")
    .where("id_sha256", "=", digest)
    .returning("kind")
    .execute();
  return ended.length > 0;
}

/**
 * Takes scopes away from a signed-in program; without any left it ends. What it may still do, undefined if there is no such
 * program. @throws HmsError INVALID_ARGUMENT with every scope that it never had.
 */
export async function narrowProgram(
  queries: Queries,
  sessionId: string,
  scopes: readonly string[],
): Promise<string[] | undefined> {
  const row = await queries
    .selectFrom("oidc_artifact")
    .select("payload")
    .where("kind", "=", "Grant")
    .where("id_sha256", "=", digestOf(sessionId))
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const before = row.payload as Grant;
  const after = narrowed(before, new Set(scopes));
  const { held, withdrawn } = scopesOf(after);
  const unknown = scopes.filter((scope) => !withdrawn.has(scope));
  if (unknown.length > 0) throw noScopes(unknown, [...scopesOf(before).held]);
  if (held.size === 0) await endProgram(queries, sessionId);
  else {
    await queries
      .updateTable("oidc_artifact")
      .set({ payload: JSON.stringify(after) })
      .where("kind", "=", "Grant")
      .where("id_sha256", "=", digestOf(sessionId))
      .execute();
  }
  return [...held];
}

function noScopes(unknown: readonly string[], held: readonly string[]) {
  const description = `${unknown.map((scope) => `"${scope}"`).join(", ")}: none of what it may do (${held.join(", ")}).`;
  return invalid([{ field: "scopes", description }]);
}
