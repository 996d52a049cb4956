import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { auditKeysSealedBy, resealAuditKeys } from "@hms/audit-log";
import { knownPermissions } from "@hms/authorization";
import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { deploymentSecrets } from "@hms/contracts";
import type { Edge } from "@hms/http-edge";
import { componentPrincipal, HmsError, type Kernel } from "@hms/kernel";
import { ensurePlatformHost, keyFilesSealedBy, oldWorkloadKeyPath, resealKeyFiles } from "@hms/local-access";
import { type ConnectionSource, rotateDatabaseKey } from "@hms/postgres";
import { checkBreachedPasswords, createPwnedPasswords } from "@hms/provider-pwned-passwords";
import { createSmtpMailer } from "@hms/provider-smtp";
import { type IdentityService, openAccountBook, openIdentityService } from "@hms/service-identity";
import type { Logger } from "@hms/telemetry";
import type { ServerAccess } from "./open-access.ts";
import { openIdentityDatabase } from "./open-databases.ts";

/** What the identity service stands on in a server. */
export interface IdentityGround {
  kernel: Kernel;
  access: ServerAccess;
  paths: InstancePaths;
  /** Known wherever people come in. */
  network: InstanceNetwork | undefined;
  source: ConnectionSource;
  log: Logger;
}

/** Both have credentials of their own, and the service itself records who comes in, or any page view would fill the log. */
const MOUNT_RULE = { permission: "", auditLevel: "none", mutates: true, public: true } as const;

/** Where people reach this installation: a host of the platform's own, so that no service shares its cookies. */
function platformOrigin(host: string, { gatewayPort }: Pick<InstanceNetwork, "gatewayPort">): string {
  return `http://${host}:${gatewayPort}`;
}

const sealedKeyFiles = ({ workloadKey, partKey }: InstancePaths) => [
  workloadKey,
  oldWorkloadKeyPath(workloadKey),
  partKey,
];

/** The identity service, and its part of the database. */
export interface OpenedIdentity {
  service: IdentityService;
  database: Awaited<ReturnType<typeof openIdentityDatabase>>;
}

/** Opens the identity service, and lets its accounts in. */
export async function openIdentity(ground: IdentityGround, stack: AsyncDisposableStack): Promise<OpenedIdentity> {
  const { kernel, access, paths, network, source, log } = ground;
  if (network === undefined) throw new HmsError("FAILED_PRECONDITION", "The server is started by: hms-sys up.");
  const { accounts, takenAway } = access;
  const database = stack.use(await openIdentityDatabase(source));
  const identity = await openIdentityService({
    database,
    sealing: access.sealing,
    sealedElsewhere: () => new Map([...auditKeysSealedBy(paths.auditKeys), ...keyFilesSealedBy(sealedKeyFiles(paths))]),
    resealElsewhere: [
      async () => resealKeyFiles(sealedKeyFiles(paths), access.sealing),
      async () => resealAuditKeys(paths.auditKeys, access.sealing),
      async () => {
        const secrets = kernel.client(deploymentSecrets.SecretService, componentPrincipal("server"));
        return (await secrets.resealSecrets({})).resealed;
      },
    ],
    origin: platformOrigin(ensurePlatformHost(paths.platformHost), network),
    instance: paths.instance,
    permissions: () => new Set([...knownPermissions(), ...[...kernel.methods()].map(({ rule }) => rule.permission)]),
    judge: () => ({
      may: (principal, permission) => principal.kind === "operator" || accounts.permits(principal, permission),
    }),
    platformKeys: { ...access.workloadKeys, replaceDatabaseKey: () => rotateDatabaseKey(paths, source) },
    mailer: createSmtpMailer(paths.mailFile),
    breached: createPwnedPasswords(paths.passwordFile),
    audit: kernel.options.audit,
    onAccountChange: (id) => takenAway.account(id),
    earlierSetUpLink: existsSync(paths.setUpLink) ? readFileSync(paths.setUpLink, "utf8").trim() : undefined,
    onSetUp: () => rmSync(paths.setUpLink, { force: true }),
    onFailure: (error) => log.warn("the identity service could not do what nobody waits for", { error }),
  });
  stack.use(identity);
  checkBreachedPasswords(paths.passwordFile).catch((error) =>
    log.error("no new password is taken until the list of breached ones can be used", { error }),
  );
  accounts.connect(identity);
  if (identity.setUpLink === undefined) rmSync(paths.setUpLink, { force: true });
  else writeFileSync(paths.setUpLink, `${identity.setUpLink}\n`, { mode: 0o600 });
  return { service: identity, database };
}

/**
 * Lets a process with a few parts judge accounts as the server does, by what their roles permit; where the registry is, it
 * revokes the tickets of those that may do less.
 */
export async function followAccounts(
  { access, source }: Pick<IdentityGround, "access" | "source">,
  stack: AsyncDisposableStack,
): Promise<void> {
  const database = stack.use(await openIdentityDatabase(source));
  const onAccountChange = (id: string) => access.takenAway.account(id);
  access.accounts.connect(stack.use(await openAccountBook(database, { onAccountChange })));
}

/** Serves the pages and the protocol by which people and programs come in. */
export function mountIdentity(edge: Edge, { mounts }: IdentityService): void {
  for (const { prefix, handler } of mounts) edge.mount(prefix, MOUNT_RULE, handler);
}
