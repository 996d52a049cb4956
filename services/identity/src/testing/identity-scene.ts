import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { knownPermissions } from "@hms/authorization";
import { createEdgeServer, Edge } from "@hms/http-edge";
import { type AuditEvent, type HmsError, Kernel, type Policy, type Principal } from "@hms/kernel";
import { createTokenIdentity } from "@hms/local-access";
import { openSealingKey } from "@hms/secrets";
import { openTestDatabase, type TestDatabase, tempFolder } from "@hms/testkit";
import type { ClientMetadata } from "oidc-provider";
import { type IdentityService, type IdentityTables, identityMigrations, openIdentityService } from "../index.ts";
import type { Judge, Mail, Mailer } from "../ports.ts";
import type { RoleBook } from "../roles/role-book.ts";

/** Where browsers reach it. */
const PLATFORM_HOST = `hms-${"t".repeat(26)}.localhost`;
/** The token of the operator. */
const OPERATOR = "o".repeat(64);
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

/** Processes of the identity service on one database, each with an edge on a port of its own. */
export class IdentityScene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly failures: unknown[] = [];
  readonly events: AuditEvent[] = [];
  /** Whether there is a mail server, and what it was given. */
  hasMail = false;
  readonly mails: Mail[] = [];
  readonly #own: TestDatabase<IdentityTables>;
  /** The file that seals this installation's secrets. */
  readonly keyFile: string;

  private constructor(own: TestDatabase<IdentityTables>, keyFile: string) {
    this.#own = own;
    this.keyFile = keyFile;
  }

  /** Makes a database. */
  static async open(): Promise<IdentityScene> {
    const own = await openTestDatabase<IdentityTables>({
      service: "identity",
      migrations: identityMigrations,
      poolSize: 10,
    });
    const folder = tempFolder();
    const scene = new IdentityScene(own, `${folder.path}/secrets.key`);
    scene.#stack.use(folder);
    scene.#stack.use(own);
    return scene;
  }

  get database() {
    return this.#own.database;
  }

  /** Starts one more process. */
  async start(clients: readonly ClientMetadata[] = []): Promise<IdentityProcess> {
    const stack = this.#stack.use(new AsyncDisposableStack());
    let edge: Edge | undefined;
    const server = createEdgeServer({
      listener: (...request: Parameters<Edge["listener"]>) => edge?.listener(...request),
    } as Edge);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const identity = stack.use(
      await openIdentityService({
        database: this.#own.database,
        sealing: openSealingKey(this.keyFile),
        origin: `http://${PLATFORM_HOST}:${port}`,
        instance: "test",
        permissions: knownPermissions,
        judge: testJudge,
        clients,
        mailer: this.#mailer(),
        audit: { accepts: true, record: (event) => this.events.push(event) },
        onFailure: (error) => this.failures.push(error),
      }),
    );
    const kernel = this.#kernel(identity);
    edge = stack.use(new Edge(kernel, { platformHost: PLATFORM_HOST }));
    for (const { prefix, handler } of identity.mounts) {
      edge.mount(prefix, { permission: "", auditLevel: "none", mutates: true, public: true }, handler);
    }
    stack.defer(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    });
    return { identity, kernel, port, origin: `http://${PLATFORM_HOST}:${port}`, stop: () => stack.disposeAsync() };
  }

  #mailer(): Mailer {
    const scene = this;
    return {
      get isSetUp() {
        return scene.hasMail;
      },
      send: async (mail) => void scene.mails.push(mail),
    };
  }

  #kernel(identity: IdentityService): Kernel {
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
      identity: createTokenIdentity([[OPERATOR, operator]], { accounts: identity.tokens }),
      policy,
      audit: { accepts: true, record: (event) => this.events.push(event) },
    });
    for (const registration of identity.registrations) kernel.register(registration);
    return kernel;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** One process of the identity service. */
export interface IdentityProcess {
  readonly identity: IdentityService;
  readonly kernel: Kernel;
  readonly port: number;
  readonly origin: string;
  stop(): Promise<void>;
}

/** The code of an error that a call ends with; undefined if it ends well. */
export function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => undefined,
    (error: HmsError) => error.code,
  );
}
