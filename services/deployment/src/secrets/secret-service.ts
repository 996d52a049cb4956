import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type RowsAsThings, visibleRows } from "@hms/authorization";
import { deploymentSecrets } from "@hms/contracts";
import { type CallContext, HmsError, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import { sql } from "kysely";
import { pageSize, pageToken, readPageToken } from "../page-token.ts";
import type { DeploymentRuntime } from "../ports.ts";
import type { ServiceAccess } from "../service-access.ts";
import { checkedName } from "../service-name.ts";
import type { DeploymentTables } from "../tables.ts";
import { noSuchSecret } from "./secret-errors.ts";
import { removeSecret } from "./secret-removal.ts";
import { pruneSecrets } from "./secret-retention.ts";
import {
  readSecretNames,
  readSecretPage,
  readSecretUsers,
  readVersions,
  type SecretKey,
  type StoredVersion,
} from "./secret-store.ts";
import { isMeant, visibleUses } from "./secret-uses.ts";
import type { SecretVault } from "./secret-vault.ts";

/** What the handlers stand on. */
export interface SecretParts {
  database: ServiceDatabase<DeploymentTables>;
  vault: SecretVault;
  access: ServiceAccess;
  runtime: Pick<DeploymentRuntime, "resealSecrets">;
  log: Logger;
}

/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;
const patiently = <T>(work: () => Promise<T>) => retryWhileUnavailable(work, { deadlineMs: PATIENCE_MS });

const THINGS: RowsAsThings<SecretKey> = {
  columns: { name: sql.ref("name"), environment: sql.ref("environment") },
  thingOf: ({ environment, name }) => ({ name, environment, facts: {} }),
};

/** The contract of secrets on its parts. */
export function secretRegistration(parts: SecretParts): ServiceRegistration {
  const { vault, runtime } = parts;
  return implement(deploymentSecrets.SecretService, {
    setSecret: (request, context) => setSecret(parts, request, context),
    listSecrets: (request, context) => listSecrets(parts, request, context),
    async revealSecret(request, context) {
      const key = keyOf(request);
      await existing(parts, key, context);
      const { version, value } = await patiently(() => vault.reveal(key, Number(request.version)));
      return { version: BigInt(version), value };
    },
    async removeSecret(request, context) {
      const key = keyOf(request);
      await existing(parts, key, context);
      return { services: await removeSecret(parts, key, context) };
    },
    async resealSecrets() {
      const [stored, running] = await Promise.allSettled([patiently(() => vault.reseal()), runtime.resealSecrets()]);
      if (stored.status === "rejected") throw stored.reason;
      if (running.status === "rejected") throw running.reason;
      return { resealed: stored.value + running.value };
    },
  }) as ServiceRegistration;
}

const keyOf = ({ environment, name }: SecretKey): SecretKey => ({
  environment: checkedName("environment", environment || "default"),
  name,
});

/** Whether the secret is there. @throws HmsError NOT_FOUND with the nearest name of those that the caller may list */
async function existing({ database }: SecretParts, key: SecretKey, context: CallContext): Promise<void> {
  const { environment, name } = key;
  const names = await patiently(() => readSecretNames(database.db, environment));
  if (names.includes(name) || (await patiently(() => readVersions(database.db, [key]))).length > 0) return;
  const filter = context.filter("secrets:read");
  const visible = names.filter((each) => filter.allows({ name: each, environment, facts: {} }));
  throw noSuchSecret(environment, name, nearestName(name, visible));
}

async function setSecret(parts: SecretParts, request: deploymentSecrets.SetSecretRequest, context: CallContext) {
  const { environment, name } = keyOf(request);
  if (request.value.includes("\0")) {
    const description = "It contains a NUL character, which no environment variable can hold.";
    throw new HmsError("INVALID_ARGUMENT", `value: ${description}`, {
      fieldViolations: [{ field: "value", description }],
    });
  }
  const key = { environment, name, setBy: principalName(context.principal) };
  // Not repeated if its answer is lost: it would be another version.
  const version = await parts.vault.set(key, request.value);
  const users = await patiently(() => readSecretUsers(parts.database.db, [environment]));
  await pruneSecrets(parts, environment);
  const older = users.filter((user) => isMeant(user) && (user.secrets[name] ?? version) < version);
  return { version: BigInt(version), older: visibleUses(older, name, context.filter("services:read")) };
}

async function listSecrets(
  { database: { db } }: SecretParts,
  request: deploymentSecrets.ListSecretsRequest,
  context: CallContext,
) {
  const { environment } = request;
  if (environment !== "") checkedName("environment", environment);
  const limit = pageSize(request.pageSize, 100, 1000);
  const [place, secret] = readPageToken(request.pageToken) ?? [];
  const from = place === undefined || secret === undefined ? undefined : { environment: place, name: secret };
  const found = await visibleRows<SecretKey>(context.filter("secrets:read"), THINGS).page({
    limit: limit + 1,
    read: (page) => patiently(() => readSecretPage(db, { environment, ...page, after: page.after ?? from })),
    throwIfEnded: () => context.throwIfEnded(),
  });
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  const versions = await patiently(() => readVersions(db, page));
  const places = [...new Set(page.map((each) => each.environment))];
  const users = await patiently(() => readSecretUsers(db, places));
  const filter = context.filter("services:read");
  return {
    secrets: page.map((key) => ({
      ...key,
      versions: versions.filter((each) => isOf(key, each)).map(shownVersion),
      uses: visibleUses(
        users.filter((user) => user.environment === key.environment && user.secrets[key.name] !== undefined),
        key.name,
        filter,
      ),
    })),
    nextPageToken: last ? pageToken([last.environment, last.name]) : "",
  };
}

const isOf = (key: SecretKey, { environment, name }: StoredVersion) =>
  key.environment === environment && key.name === name;

const shownVersion = ({ version, setBy, setAt }: StoredVersion) => ({
  version: BigInt(version),
  setBy,
  setAt: timestampFromDate(setAt),
});
