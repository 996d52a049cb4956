import { HmsError } from "@hms/kernel/errors";
import { type RawBuilder, sql } from "kysely";
import type { RunPrincipal } from "./claimed-task.ts";
import { asJsonb, type RunDatabase, rowsOf } from "./run-database.ts";

/** Which run, and who says so. */
export interface RunOrder {
  readonly environment: string;
  readonly runId: string;
  readonly by: RunPrincipal;
}

interface Answer {
  did: boolean;
}

async function order(
  database: RunDatabase,
  { environment, runId }: RunOrder,
  call: RawBuilder<unknown>,
): Promise<boolean> {
  const [answer] = await rowsOf(
    database,
    sql<Answer>`select ${call} as did from run r where r.id = ${runId}::uuid and r.environment = ${environment}`,
  );
  if (answer) return answer.did;
  throw new HmsError("NOT_FOUND", `There is no run ${runId} in ${environment}. List its runs to see their ids.`, {
    reason: "NO_RUN",
  });
}

/** False if it has ended or is stopping. @throws HmsError NOT_FOUND */
export const cancelRun = (database: RunDatabase, asked: RunOrder): Promise<boolean> =>
  order(database, asked, sql`stop_run(r.id, 'cancelled', ${asJsonb(asked.by)})`);

/** False if it has ended, is stopping, or is paused. @throws HmsError NOT_FOUND */
export const pauseRun = (database: RunDatabase, asked: RunOrder): Promise<boolean> =>
  order(database, asked, sql`pause_run(r.id, ${asJsonb(asked.by)})`);

/** False if it is not paused. @throws HmsError NOT_FOUND */
export const resumeRun = (database: RunDatabase, asked: RunOrder): Promise<boolean> =>
  order(database, asked, sql`resume_run(r.id, ${asJsonb(asked.by)})`);
