import type { Adapter, AdapterPayload, ClientMetadata } from "oidc-provider";
import type { IdentityDatabase } from "../identity-tables.ts";
import { isUuid } from "../uuid.ts";
import { forLibrary } from "./library-error.ts";

const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";

const CLI_CLIENT = "hms-cli";
const CONSOLE_CLIENT = "hms-console";

/** Whether a client is a part of the platform. */
export function isOwnClient(clientId: unknown): boolean {
  return clientId === CLI_CLIENT || clientId === CONSOLE_CLIENT;
}

/** The platform's own programs; people are not asked whether these may act for them. */
export function ownClients(origin: string): ClientMetadata[] {
  return [
    {
      client_id: CLI_CLIENT,
      client_name: "hms-sys command line",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: [DEVICE, "refresh_token"],
      response_types: [],
      redirect_uris: [],
    },
    {
      client_id: CONSOLE_CLIENT,
      client_name: "Console",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      redirect_uris: [`${origin}/console/callback`],
      post_logout_redirect_uris: [`${origin}/console`],
    },
  ];
}

/** How ids of registered applications begin. */
const CLIENT_PREFIX = "app-";

/**
 * Finds service accounts as clients, which get only their own tokens, and registered applications; of secrets the SHA-256
 * is kept.
 */
export class ClientAdapter implements Adapter {
  readonly #database: IdentityDatabase;
  /** What the provider knows as scopes. */
  readonly #scopes: ReadonlySet<string>;

  constructor(database: IdentityDatabase, scopes: ReadonlySet<string>) {
    this.#database = database;
    this.#scopes = scopes;
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    if (isUuid(id)) return this.#serviceAccount(id);
    return id.startsWith(CLIENT_PREFIX) ? this.#application(id) : Promise.resolve(undefined);
  }

  async #application(id: string): Promise<AdapterPayload | undefined> {
    const found = this.#database.db.selectFrom("client").selectAll().where("client_id", "=", id).executeTakeFirst();
    const client = await forLibrary(found);
    if (client === undefined) return undefined;
    const { secret_sha256: digest } = client;
    return {
      client_id: id,
      client_name: client.name,
      // A native one could be answered at any port of this machine, which is where services listen.
      application_type: "web",
      redirect_uris: client.redirect_uris,
      ...(client.scopes === null ? {} : { scope: this.#scopesOf(client.scopes) }),
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      ...(digest === null
        ? { token_endpoint_auth_method: "none" }
        : {
            token_endpoint_auth_method: "client_secret_basic",
            client_secret: Buffer.from(digest).toString("hex"),
          }),
    };
  }

  /** Who somebody is, and what the application was registered for; what is no permission any more is left out. */
  #scopesOf(scopes: readonly string[]): string {
    return ["openid", "offline_access", ...scopes.filter((scope) => this.#scopes.has(scope))].join(" ");
  }

  async #serviceAccount(id: string): Promise<AdapterPayload | undefined> {
    const found = this.#database.db
      .selectFrom("account")
      .select(["login", "client_secret_sha256"])
      .where("account_id", "=", id)
      .where("kind", "=", "service")
      .where("active", "=", true)
      .executeTakeFirst();
    const account = await forLibrary(found);
    if (account?.client_secret_sha256 == null) return undefined;
    return {
      client_id: id,
      client_name: account.login,
      client_secret: Buffer.from(account.client_secret_sha256).toString("hex"),
      token_endpoint_auth_method: "client_secret_basic",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    };
  }

  async upsert(): Promise<void> {}
  async consume(): Promise<void> {}
  async destroy(): Promise<void> {}
  async revokeByGrantId(): Promise<void> {}
  async findByUid(): Promise<undefined> {}
  async findByUserCode(): Promise<undefined> {}
}
