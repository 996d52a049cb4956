import type { Queries } from "../identity-tables.ts";

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
