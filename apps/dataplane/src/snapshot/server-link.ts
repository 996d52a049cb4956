import { mesh } from "@hms/contracts";
import { type Client, createClient } from "@hms/kernel";
import { readToken } from "@hms/local-access";
import { connectSocket, type SocketTransport } from "@hms/wire";

type MeshClient = Client<typeof mesh.MeshService>;

/** The way to the server's mesh service. The token is read when it is needed: it may come later than this process. */
export class ServerLink {
  readonly #paths: { kernelSocket: string; dataplaneToken: string };
  #transport: SocketTransport | undefined;
  #client: MeshClient | undefined;

  constructor(paths: { kernelSocket: string; dataplaneToken: string }) {
    this.#paths = paths;
  }

  /** A client of the mesh service; raises the error of reading the token. */
  get client(): MeshClient {
    if (this.#client === undefined) {
      const { kernelSocket, dataplaneToken } = this.#paths;
      this.#transport = connectSocket({ path: kernelSocket, token: readToken(dataplaneToken) });
      this.#client = createClient(mesh.MeshService, this.#transport);
    }
    return this.#client;
  }

  /** Forgets connection and token; the next use begins anew. */
  reset(): void {
    this.#client = undefined;
    this.#transport?.close().catch(() => {});
    this.#transport = undefined;
  }
}
