import { type CallContext, HmsError, spokenName } from "@hms/kernel";
import { type Manifest, nearestName, secretNames, secretPieces } from "@hms/manifest";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import type { ServiceAccess } from "../service-access.ts";
import type { ServiceKey } from "../service-record.ts";
import type { DeploymentTables } from "../tables.ts";
import { type UnusableSecret, unknownSecrets } from "./secret-errors.ts";
import { newestVersions, readSecretNames } from "./secret-store.ts";
import type { SecretVersions } from "./secret-tables.ts";

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;

/** Finds the secrets that a manifest asks for. */
export class DeploySecrets {
  readonly #db: ServiceDatabase<DeploymentTables>["db"];
  readonly #access: ServiceAccess;

  constructor(db: ServiceDatabase<DeploymentTables>["db"], access: ServiceAccess) {
    this.#db = db;
    this.#access = access;
  }

  /**
   * The newest versions of what a manifest asks for.
   * @throws HmsError PERMISSION_DENIED with every secret that the caller may not use, INVALID_ARGUMENT with every one that
   * there is not
   */
  async newest(context: CallContext, { environment }: ServiceKey, manifest: Manifest): Promise<SecretVersions> {
    const names = secretNames(manifest);
    if (names.length === 0) return {};
    await this.#admit(context, environment, { permission: "secrets:use", names });
    const read = () => newestVersions(this.#db, environment, names);
    const newest = await retryWhileUnavailable(read, { deadlineMs: PATIENCE_MS });
    const unknown = names.filter((name) => !newest.has(name));
    if (unknown.length === 0) return Object.fromEntries(newest);
    const candidates = await this.#usable(context, environment);
    throw unknownSecrets(
      environment,
      unknown.map((name) => unusable(manifest, name, candidates)),
    );
  }

  /**
   * Lets a caller see what a command says that has these secrets.
   * @throws HmsError PERMISSION_DENIED with every one that they may not reveal
   */
  async admitReading(context: CallContext, { environment }: ServiceKey, versions: SecretVersions): Promise<void> {
    await this.#admit(context, environment, { permission: "secrets:reveal", names: Object.keys(versions) });
  }

  async #admit(
    context: CallContext,
    environment: string,
    { permission, names }: { permission: "secrets:use" | "secrets:reveal"; names: readonly string[] },
  ): Promise<void> {
    const denied: string[] = [];
    let reason = "";
    for (const name of names) {
      const decision = await this.#access.decide(context, permission, { environment, resource: name });
      if (decision.allowed) continue;
      denied.push(`"${name}"`);
      reason ||= decision.reason ?? "";
    }
    if (denied.length === 0) return;
    const what = permission === "secrets:use" ? "use" : "run a command with, which could print";
    const message = `${spokenName(context.principal)} may not ${what} the secret${denied.length > 1 ? "s" : ""} ${denied.join(", ")} of "${environment}": ${reason}. It needs ${permission}.`;
    throw new HmsError("PERMISSION_DENIED", message, { reason: "SECRET_DENIED" });
  }

  /** Names for hints: those that the caller may list. */
  async #usable(context: CallContext, environment: string): Promise<string[]> {
    const filter = context.filter("secrets:read");
    const names = await readSecretNames(this.#db, environment);
    return names.filter((name) => filter.allows({ name, environment, facts: {} }));
  }
}

function unusable({ secrets }: Manifest, name: string, candidates: readonly string[]): UnusableSecret {
  const asks = ([, template]: [string, string]) =>
    secretPieces(template).some((piece) => "secret" in piece && piece.secret === name);
  const variables = Object.entries(secrets)
    .filter(asks)
    .map(([variable]) => variable);
  return { name, variables, nearest: nearestName(name, candidates) };
}
