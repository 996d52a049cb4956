import type { Transaction } from "kysely";
import type { RolloutKind } from "../rollout-state.ts";
import type { ServiceKey } from "../service-record.ts";
import type { DeploymentTables } from "../tables.ts";
import { destroyedVersions } from "./secret-errors.ts";
import { holdVersions } from "./secret-store.ts";
import type { SecretVersions } from "./secret-tables.ts";

/**
 * Keeps the secrets that a rollout leads to from being destroyed until it is written down.
 * @throws HmsError FAILED_PRECONDITION if one was destroyed already
 */
export async function refuseDestroyed(
  trx: Transaction<DeploymentTables>,
  { environment, service, kind }: ServiceKey & { kind: RolloutKind },
  versions: SecretVersions | undefined,
): Promise<void> {
  if (versions === undefined || kind === "stop" || kind === "remove") return;
  const destroyed = await holdVersions(trx, environment, versions);
  if (destroyed.length > 0) throw destroyedVersions(service, destroyed);
}
