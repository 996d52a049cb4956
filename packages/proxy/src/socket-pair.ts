import { Duplex } from "node:stream";
import type { ClientCertificate } from "./client-certificate.ts";

/** What servers of node:http and the proxy ask of a connection beside its bytes. */
interface Facts {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly encrypted: boolean;
  readonly clientCertificate: ClientCertificate | null;
}

/** One end of a connection within this process. */
export class PairedSocket extends Duplex {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly encrypted: boolean;
  readonly clientCertificate: ClientCertificate | null;
  #other: PairedSocket | undefined;
  #resume: (() => void) | undefined;

  constructor({ remoteAddress, localAddress, encrypted, clientCertificate }: Facts) {
    super({ allowHalfOpen: true, readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024 });
    this.remoteAddress = remoteAddress;
    this.localAddress = localAddress;
    this.encrypted = encrypted;
    this.clientCertificate = clientCertificate;
  }

  /** Makes both ends: the client's, and the server's, which says these things of the client. */
  static create(facts: Facts): { client: PairedSocket; server: PairedSocket } {
    const [client, server] = [new PairedSocket(facts), new PairedSocket(facts)];
    client.#other = server;
    server.#other = client;
    return { client, server };
  }

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    const other = this.#other;
    if (other === undefined || other.destroyed || other.push(chunk)) done();
    else other.#resume = done;
  }

  override _final(done: () => void): void {
    this.#other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const other = this.#other;
    this.#other = undefined;
    this.#resume?.();
    // What was ended in order is still read by the other end; what was cut is cut there, too.
    if (other && !other.destroyed && !this.writableFinished) process.nextTick(() => other.destroy());
    done(error);
  }

  /** Ends it once everything is written. */
  destroySoon(): void {
    if (this.writable) this.end(() => this.destroy());
    else this.destroy();
  }

  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}
