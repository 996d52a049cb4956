import assert from "node:assert/strict";
import type { AuditEvent, HmsError } from "@hms/kernel";
import { openTestDatabase, type TestDatabase, tempFolder } from "@hms/testkit";
import type { ClientMetadata } from "oidc-provider";
import { type IdentityTables, identityMigrations } from "../index.ts";
import type { Mail, Mailer } from "../ports.ts";
import { type IdentityProcess, operator, serveIdentity } from "./serve-identity.ts";

export { type IdentityProcess, operator };

/** Processes of the identity service on one database, each with an edge on a port of its own. */
export class IdentityScene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly failures: unknown[] = [];
  readonly events: AuditEvent[] = [];
  /** Whether there is a mail server, and what it was given. */
  hasMail = false;
  readonly mails: Mail[] = [];
  /** Passwords that have leaked; undefined: that cannot be said. */
  breached: ReadonlySet<string> | undefined = new Set();
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
    const running = await serveIdentity({
      database: this.#own.database,
      keyFile: this.keyFile,
      clients,
      mailer: this.#mailer(),
      breached: { includes: async (password) => (this.breached ?? assert.fail("the list is gone")).has(password) },
      record: (event) => this.events.push(event),
      onFailure: (error) => this.failures.push(error),
    });
    const stack = this.#stack.use(new AsyncDisposableStack());
    stack.defer(running.stop);
    return { ...running, stop: () => stack.disposeAsync() };
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The code of an error that a call ends with; undefined if it ends well. */
export function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => undefined,
    (error: HmsError) => error.code,
  );
}
