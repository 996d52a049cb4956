import type { TLSSocket } from "node:tls";

/** The connections whose clients have shown a certificate, which are ended when an authority is believed no more. */
export class CertifiedClients {
  readonly #sockets = new Set<TLSSocket>();
  #authorities: readonly string[] = [];

  /** Whether clients are asked for certificates. */
  get isAsking(): boolean {
    return this.#authorities.length > 0;
  }

  /** Keeps a connection in mind, if there is a certificate to it. */
  note(socket: TLSSocket): void {
    if (!this.isAsking || socket.getPeerX509Certificate() === undefined) return;
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  /** From now on these are believed, each PEM. If one of before is not among them, nobody may go on by what it said. */
  believe(authorities: readonly string[]): void {
    const isAnyGone = this.#authorities.some((before) => !authorities.includes(before));
    this.#authorities = authorities;
    if (isAnyGone) for (const socket of this.#sockets) socket.destroy();
  }
}
