import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { knownPermissions } from "@hms/authorization";
import { createEdgeServer, Edge } from "@hms/http-edge";
import { type AuditEvent, Kernel, type Policy, type Principal } from "@hms/kernel";
import { createTokenIdentity } from "@hms/local-access";
import { openSealingKey } from "@hms/secrets";
import type { ClientMetadata } from "oidc-provider";
import type { IdentityDatabase } from "../identity-tables.ts";
import { type IdentityService, openIdentityService } from "../index.ts";
import type { BreachedPasswords, Judge, Mailer } from "../ports.ts";
import type { RoleBook } from "../roles/role-book.ts";

/** Where browsers reach it. */
const PLATFORM_HOST = `hms-${"t".repeat(26)}.localhost`;
/** The token of the operator. */
export const OPERATOR_TOKEN = "o".repeat(64);
/** The operator. */
export const operator: Principal = { kind: "operator", id: "operator" };

const OWN = ["profile:own", "sessions:own", "keys:own"];

/** A judge as the server's: the operator may all, others what their roles permit within their scopes. */
function testJudge(roles: RoleBook): Judge {
  return {
    may({ kind, roles: names = [], scopes }, permission) {
      if (kind === "operator") return true;
      if (scopes !== undefined && !scopes.includes(permission) && !scopes.includes("*")) return false;
      return roles.permits(names, permission);
    },
  };
}

/** What a process of the identity service is served with. */
export interface ServedIdentityOptions {
  readonly database: IdentityDatabase;
  /** The file that seals the installation's secrets. */
  readonly keyFile: string;
  /** Where people reach it, if that is not at this process: several processes stand behind one address. */
  readonly origin?: string | undefined;
  readonly clients?: readonly ClientMetadata[];
  readonly mailer?: Mailer;
  readonly breached?: BreachedPasswords;
  record(event: AuditEvent): void;
  onFailure(error: unknown): void;
}

/** One process of the identity service. */
export interface IdentityProcess {
  readonly identity: IdentityService;
  readonly kernel: Kernel;
  readonly port: number;
  readonly origin: string;
  stop(): Promise<void>;
}

/** Serves the identity service with its pages at a port of its own. */
export async function serveIdentity(options: ServedIdentityOptions): Promise<IdentityProcess> {
  await using stack = new AsyncDisposableStack();
  let edge: Edge | undefined;
  const server = createEdgeServer({
    listener: (...request: Parameters<Edge["listener"]>) => edge?.listener(...request),
  } as Edge);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { database, keyFile, origin = `http://${PLATFORM_HOST}:${port}`, record, onFailure } = options;
  const identity = stack.use(
    await openIdentityService({
      database,
      sealing: openSealingKey(keyFile),
      origin,
      instance: "test",
      permissions: knownPermissions,
      judge: testJudge,
      clients: options.clients ?? [],
      ...(options.mailer ? { mailer: options.mailer } : {}),
      ...(options.breached ? { breached: options.breached } : {}),
      audit: { accepts: true, record },
      onFailure,
    }),
  );
  const kernel = kernelOf(identity, record);
  edge = stack.use(new Edge(kernel, { platformHost: PLATFORM_HOST }));
  for (const { prefix, handler } of identity.mounts) {
    edge.mount(prefix, { permission: "", auditLevel: "none", mutates: true, public: true }, handler);
  }
  stack.defer(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const owned = stack.move();
  return { identity, kernel, port, origin, stop: () => owned.disposeAsync() };
}

function kernelOf(identity: IdentityService, record: (event: AuditEvent) => void): Kernel {
  const judge = testJudge(identity.roles);
  const policy: Policy = {
    decide: ({ principal, permission }) => {
      const isOwn = OWN.includes(permission) && principal.kind !== "anonymous" && principal.scopes === undefined;
      return isOwn || judge.may(principal, permission)
        ? { allowed: true }
        : { allowed: false, reason: `only who holds ${permission} may` };
    },
  };
  const kernel = new Kernel({
    identity: createTokenIdentity([[OPERATOR_TOKEN, operator]], { accounts: identity.tokens }),
    policy,
    audit: { accepts: true, record },
  });
  for (const registration of identity.registrations) kernel.register(registration);
  return kernel;
}
