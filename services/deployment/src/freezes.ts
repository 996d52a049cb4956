import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { deployment } from "@hms/contracts";
import { type CallContext, HmsError, principalName } from "@hms/kernel";
import type { Manifest } from "@hms/manifest";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import { type Selectable, sql } from "kysely";
import { nextOpening } from "./deploy-window.ts";
import type { Failure } from "./rollout-state.ts";
import { checkedName } from "./service-name.ts";
import type { ServiceKey } from "./service-record.ts";
import type { DeploymentTables } from "./tables.ts";

type FreezeRow = Selectable<DeploymentTables["deploy_freeze"]>;

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;
const LONGEST_MS = 366 * 24 * 60 * 60_000;
const LONGEST_REASON = 500;

/** What is noted of a deploy that freezes and windows hold up. */
export function freezableOf({ overrideFreeze }: { overrideFreeze: boolean }): { freezable?: boolean } {
  return overrideFreeze ? {} : { freezable: true };
}

/** Times in which nothing new is deployed. */
export class Freezes {
  readonly #db: ServiceDatabase<DeploymentTables>["db"];

  constructor(db: ServiceDatabase<DeploymentTables>["db"]) {
    this.#db = db;
  }

  /** Begins a freeze, or changes the one that holds. @throws HmsError INVALID_ARGUMENT with every problem */
  async freeze(request: deployment.FreezeRequest, { principal }: CallContext) {
    const { environment, service } = placeOf(request);
    const until = request.until ? timestampDate(request.until) : undefined;
    const problems = [...untilProblems(until), ...reasonProblems(request.reason)];
    if (problems.length > 0 || until === undefined) {
      const message = problems.map(({ field, description }) => `${field}: ${description}`).join(" ");
      throw new HmsError("INVALID_ARGUMENT", message, { fieldViolations: problems });
    }
    const values = { until, reason: request.reason, set_by: principalName(principal) };
    const write = () =>
      this.#db
        .insertInto("deploy_freeze")
        .values({ environment, service, ...values, since: sql<Date>`now()` })
        .onConflict((conflict) => conflict.columns(["environment", "service"]).doUpdateSet(values))
        .returningAll()
        .executeTakeFirstOrThrow();
    return { freeze: shown(await retryWhileUnavailable(write, { deadlineMs: PATIENCE_MS })) };
  }

  /** Ends a freeze. */
  async unfreeze(request: deployment.UnfreezeRequest): Promise<{ ended: boolean }> {
    const { environment, service } = placeOf(request);
    const remove = () =>
      this.#db
        .deleteFrom("deploy_freeze")
        .where("environment", "=", environment)
        .where("service", "=", service)
        .where("until", ">", sql<Date>`now()`)
        .executeTakeFirst();
    const { numDeletedRows } = await retryWhileUnavailable(remove, { deadlineMs: PATIENCE_MS });
    return { ended: numDeletedRows > 0n };
  }

  /** Every freeze that holds now, in one environment or in all (""), of what the caller may read. */
  async list(environment: string, context: CallContext) {
    if (environment !== "") checkedName("environment", environment);
    const filter = context.filter("services:read");
    const visible = (await this.#holding(environment)).filter(({ service: name, environment, owner }) =>
      filter.allows({ name, environment, facts: { owner: owner ?? "" } }),
    );
    return { freezes: visible.map(shown) };
  }

  async #holding(environment: string): Promise<(FreezeRow & { owner: string | null })[]> {
    const owner = sql<string | null>`(select s.owner from service s
      where (s.environment, s.name) = (deploy_freeze.environment, deploy_freeze.service))`;
    const read = () =>
      this.#db
        .selectFrom("deploy_freeze")
        .selectAll()
        .select(owner.as("owner"))
        .where("until", ">", sql<Date>`now()`)
        .$if(environment !== "", (query) => query.where("environment", "=", environment))
        .orderBy("environment")
        .orderBy("service")
        .execute();
    return retryWhileUnavailable(read, { deadlineMs: PATIENCE_MS });
  }

  /**
   * Lets a new version of a service be deployed now.
   * @throws HmsError FAILED_PRECONDITION during a freeze, and outside of the manifest's windows
   */
  async admit(key: ServiceKey, manifest: Manifest, now = new Date()): Promise<void> {
    const obstacle = await this.#obstacle(key, manifest, now);
    if (obstacle === undefined) return;
    const { words, reason, metadata } = obstacle;
    throw new HmsError("FAILED_PRECONDITION", `${words} ${OVERRIDE}`, { reason, metadata });
  }

  /** What holds a revision up that was admitted earlier and has waited since; undefined: nothing. */
  async heldUp(key: ServiceKey, revision: string, now = new Date()): Promise<Failure | undefined> {
    const read = () =>
      this.#db
        .selectFrom("revision")
        .select("manifest")
        .where("environment", "=", key.environment)
        .where("service", "=", key.service)
        .where("revision", "=", revision)
        .executeTakeFirst();
    const found = await retryWhileUnavailable(read, { deadlineMs: PATIENCE_MS });
    const obstacle = found && (await this.#obstacle(key, found.manifest, now));
    return obstacle && { reason: `Its turn came too late: ${obstacle.words}`, remedy: OVERRIDE };
  }

  async #obstacle(
    { environment, service }: ServiceKey,
    { rollout }: Manifest,
    now: Date,
  ): Promise<Obstacle | undefined> {
    const found = (await this.#holding(environment)).find((row) => row.service === "" || row.service === service);
    if (found) {
      const what = found.service === "" ? `the environment "${environment}"` : `"${service}"`;
      const until = found.until.toISOString();
      const words = `${found.set_by} has stopped deploys of ${what} until ${until}: ${found.reason}.`;
      return { words, reason: "FROZEN", metadata: { until, by: found.set_by } };
    }
    // Manifests that older versions have stored know of none.
    const windows = (rollout as Partial<typeof rollout>).windows ?? [];
    const opens = windows.length === 0 ? undefined : nextOpening(windows, now);
    if (opens === undefined || opens <= now) return undefined;
    const at = opens.toISOString();
    const words = `"${service}" is deployed in its windows only (${windows.join("; ")}), and the next one opens at ${at}.`;
    return { words, reason: "OUTSIDE_WINDOW", metadata: { opens: at } };
  }
}

/** Why a deploy may not happen now. */
interface Obstacle {
  words: string;
  reason: string;
  metadata: Record<string, string>;
}

const OVERRIDE =
  "Wait, or deploy with --override-freeze, which needs services:freeze. Rollbacks and restarts are not held up.";

function placeOf(request: { environment: string; service: string }): ServiceKey {
  const environment = checkedName("environment", request.environment || "default");
  return { environment, service: request.service === "" ? "" : checkedName("service", request.service) };
}

function untilProblems(until: Date | undefined) {
  const at = until?.getTime() ?? 0;
  if (at > Date.now() && at <= Date.now() + LONGEST_MS) return [];
  return [{ field: "until", description: "It must be a time ahead, at most a year: say when deploys may go on." }];
}

function reasonProblems(reason: string) {
  if (reason.trim() !== "" && reason.length <= LONGEST_REASON) return [];
  const description = `Say why in 1 to ${LONGEST_REASON} characters: whoever is refused is told.`;
  return [{ field: "reason", description }];
}

function shown({ environment, service, until, reason, set_by: by, since }: FreezeRow) {
  return { environment, service, until: timestampFromDate(until), reason, by, since: timestampFromDate(since) };
}
