import type { ClientConnection, ClientUser } from "./client-connection.ts";
import type { ResponseHead } from "./response-head.ts";
import type { UpstreamConnection, UpstreamUser } from "./upstream-connection.ts";

/** The two ends of a tunnel. */
export interface TunnelInput {
  client: ClientConnection;
  connection: UpstreamConnection;
  /** Called once, when either end is gone. */
  onEnd: () => void;
}

/** The head of an answer after which a connection speaks another protocol. */
export function switchingHead({ statusText, lines, upgrade }: ResponseHead, requestId: string): string {
  const fields = `${lines}x-request-id: ${requestId}\r\nconnection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  return `HTTP/1.1 ${statusText}\r\n${fields}\r\n`;
}

/** Carries bytes both ways between a client and an endpoint, each side as fast as the other takes them. */
export class Tunnel implements UpstreamUser, ClientUser {
  readonly #client: ClientConnection;
  readonly #connection: UpstreamConnection;
  readonly #onEnd: () => void;
  #hasEnded = false;

  constructor(input: TunnelInput) {
    this.#client = input.client;
    this.#connection = input.connection;
    this.#onEnd = input.onEnd;
  }

  /** Begins; takes both ends from whoever used them. */
  open(): void {
    const { socket } = this.#client;
    const service = this.#connection.socket;
    this.#client.user = this;
    this.#connection.take(this);
    this.#connection.becomeTunnel();
    socket.setTimeout(0);
    socket.on("error", () => this.#end());
    socket.on("data", (bytes: Buffer) => {
      if (!service.write(bytes)) socket.pause();
    });
    socket.on("end", () => service.end());
    socket.resume();
    this.#connection.resume();
  }

  onTunnelData(bytes: Buffer, start: number, end: number): void {
    if (!this.#client.socket.write(Buffer.from(bytes.subarray(start, end)))) this.#connection.pause();
  }

  onTunnelEnd(): void {
    this.#client.socket.end();
  }

  onClientDrain(): void {
    this.#connection.resume();
  }

  onUpstreamDrain(): void {
    this.#client.socket.resume();
  }

  onClientClosed(): void {
    this.#end();
  }

  onUpstreamFailure(): void {
    this.#client.socket.destroySoon();
    this.#end();
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#client.user = null;
    this.#connection.destroy();
    this.#onEnd();
  }

  // Nothing of these happens once the bytes are a tunnel's.
  onUpstreamConnected(): void {}
  onReadEnd(): void {}
  onInformational(): void {}
  onResponseHead(): void {}
  onResponseBody(): void {}
  onResponseEnd(): void {}
}
