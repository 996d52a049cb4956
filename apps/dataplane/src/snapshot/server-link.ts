import { identityCredentials, mesh } from "@hms/contracts";
import { type Client, createClient } from "@hms/kernel";
import { readToken } from "@hms/local-access";
import { connectSocket, type SocketTransport } from "@hms/wire";

type CredentialClient = Client<typeof identityCredentials.CredentialService>;
type MeshClient = Client<typeof mesh.MeshService>;

/** The way to what a data plane asks of the server. The token is read when it is needed: it may come later than this process. */
export class ServerLink {
  readonly #paths: { kernelSocket: string; dataplaneToken: string };
  #transport: SocketTransport | undefined;
  #client: MeshClient | undefined;
  #credentials: CredentialClient | undefined;

  constructor(paths: { kernelSocket: string; dataplaneToken: string }) {
    this.#paths = paths;
  }

  /** A client of the mesh service; raises the error of reading the token. */
  get client(): MeshClient {
    this.#client ??= createClient(mesh.MeshService, this.#connected());
    return this.#client;
  }

  /** A client of the service that knows credentials; raises the error of reading the token. */
  get credentials(): CredentialClient {
    this.#credentials ??= createClient(identityCredentials.CredentialService, this.#connected());
    return this.#credentials;
  }

  #connected(): SocketTransport {
    const { kernelSocket, dataplaneToken } = this.#paths;
    this.#transport ??= connectSocket({ path: kernelSocket, token: readToken(dataplaneToken) });
    return this.#transport;
  }

  /** Forgets connection and token; the next use begins anew. */
  reset(): void {
    this.#client = undefined;
    this.#credentials = undefined;
    this.#transport?.close().catch(() => {});
    this.#transport = undefined;
  }
}
