import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { knownPermissions } from "@hms/authorization";
import { identityUsers } from "@hms/contracts";
import { componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { createTokenIdentity } from "@hms/local-access";
import { openServiceDatabase } from "@hms/postgres";
import { openSealingKey } from "@hms/secrets";
import {
  createCredentialService,
  type IdentityTables,
  identityMigrations,
  openIdentityService,
  Revocations,
  type RoleBook,
} from "@hms/service-identity";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { newKeyText } from "../../services/identity/src/keys/key-text.ts";
import { sha256 } from "../../services/identity/src/secret-digest.ts";

/**
 * The identity service on an embedded PostgreSQL of its own, with API keys of 100 operators:
 * `node identify-host.ts PORT SOCKET DATAPLANE_TOKEN KEYS_FILE COUNT`. It listens on the port once the keys stand in the
 * file, a line each.
 */
const [port = "", path = "", dataplaneToken = "", keysFile = "", count = ""] = process.argv.slice(2);
const USERS = 100;
const BATCH = 1000;
const operator: Principal = { kind: "operator", id: "operator" };

const { paths } = tempInstance();
const { source } = await startTestPostgres(paths);
const database = await openServiceDatabase<IdentityTables>({
  source,
  service: "identity",
  migrations: identityMigrations,
});

const mayAs =
  (roles: RoleBook) =>
  ({ kind, roles: names = [] }: Principal, permission: string) =>
    kind === "operator" || kind === "component" || roles.permits(names, permission);
const audit = { accepts: true, record: () => {} };
const revocations = new Revocations();
const service = await openIdentityService({
  database,
  sealing: openSealingKey(paths.sealingKey),
  origin: "http://hms.localhost",
  instance: "bench",
  permissions: knownPermissions,
  judge: (roles) => ({ may: mayAs(roles) }),
  audit,
  onAccountChange: (id) => revocations.tell([`user:${id}`]),
  onFailure: (error) => process.stderr.write(`${String(error)}\n`),
});
const may = mayAs(service.roles);
const identity = createTokenIdentity([[dataplaneToken, componentPrincipal("dataplane")]], { accounts: service.tokens });
const kernel = new Kernel({
  identity,
  policy: { decide: ({ principal, permission }) => ({ allowed: may(principal, permission), reason: permission }) },
  audit,
});
for (const registration of service.registrations) kernel.register(registration);
kernel.register(
  createCredentialService({
    identity,
    permits: may,
    revocations,
    isInTouch: () => service.isInTouch,
    peer: async () => undefined,
  }),
);

/** Makes users, and keys of theirs as CreateKey makes them, but for one statement for many: the service judges the same rows. */
async function issueKeys(): Promise<string[]> {
  const users = kernel.client(identityUsers.UserService, operator);
  const owners = Array.from({ length: USERS }, (_, n) => users.createUser({ login: `user${n}`, roles: ["operator"] }));
  const accounts = (await Promise.all(owners)).map(({ user }) => user?.userId ?? "");
  const keys = Array.from({ length: Number(count) }, () => newKeyText("bench"));
  const expires_at = new Date(Date.now() + 90 * 86_400_000);
  for (let from = 0; from < keys.length; from += BATCH) {
    const rows = keys.slice(from, from + BATCH).map(({ keyId, text }, n) => {
      const account_id = accounts[(from + n) % USERS] ?? "";
      return { key_id: keyId, account_id, name: "bench", sha256: sha256(text), scopes: [], expires_at };
    });
    await database.db.insertInto("api_key").values(rows).execute();
  }
  return keys.map(({ text }) => text);
}

writeFileSync(keysFile, `${(await issueKeys()).join("\n")}\n`, { mode: 0o600 });
await serveSocket(kernel, { path });
createServer().listen(Number(port), "127.0.0.1");
