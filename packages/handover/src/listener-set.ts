import type { SendHandle } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { Server } from "node:net";
import { addressKey, type HandoverMessage, type ListenAddress, type RawHandle } from "./handover-message.ts";

const sharesPorts = process.platform === "linux";

/**
 * The listening sockets of this process. Each is opened here, or taken over from the process before; a copy goes to the
 * parent, which keeps it open without accepting, so that connections wait while one process replaces another. Without a
 * parent that keeps listeners it just listens.
 */
export class ListenerSet {
  readonly #inherited = new Map<string, RawHandle>();
  readonly #open = new Set<Server | Socket>();
  #kept = false;

  /** True once the parent has noted this process: from then on the parent's successor will find it. */
  get isKept(): boolean {
    return this.#kept;
  }

  /** Waits for what the parent has kept. */
  async inherit(): Promise<void> {
    if (process.send === undefined) return;
    await new Promise<void>((resolve) => {
      process.on("message", (message: HandoverMessage, handle: unknown) => {
        if (message.kind === "listener" && handle) this.#inherited.set(addressKey(message), handle as RawHandle);
        if (message.kind === "start") resolve();
        if (message.kind === "keep") this.#kept = true;
      });
      process.once("disconnect", () => resolve());
      tellParent({ kind: "hello" });
    });
  }

  /** Lets a TCP or HTTP server listen; rejects with Node's error. */
  async listen(server: Server, address: string, port: number): Promise<void> {
    const where: ListenAddress = { protocol: "tcp", address, port };
    const handle = this.#take(where);
    await opened(server, (done) => {
      if (handle) server.listen(handle, done);
      else server.listen({ host: address, port, reusePort: sharesPorts }, done);
    });
    this.#open.add(server);
    if (!handle) share(where, rawTcpHandle(server));
  }

  /** Opens a UDP socket; rejects with Node's error. */
  async bind(address: string, port: number): Promise<Socket> {
    const where: ListenAddress = { protocol: "udp", address, port };
    const handle = this.#take(where);
    const socket = createSocket({ type: "udp4", reusePort: sharesPorts });
    await opened(socket, (done) => {
      if (handle) socket.bind(handle as never, done);
      else socket.bind({ address, port, exclusive: true }, done);
    });
    this.#open.add(socket);
    if (!handle) share(where, rawUdpHandle(socket));
    return socket;
  }

  #take(where: ListenAddress): RawHandle | undefined {
    const key = addressKey(where);
    const handle = this.#inherited.get(key);
    this.#inherited.delete(key);
    return handle;
  }

  /** Tells the parent that everything is open. */
  ready(): void {
    tellParent({ kind: "ready" });
  }

  /** Stops accepting; the parent's copies keep the addresses. */
  stop(): void {
    for (const listener of this.#open) {
      // An HTTP server's own close() also cuts idle connections, with requests that are on their way.
      if (listener instanceof Server) Server.prototype.close.call(listener);
      else listener.close();
    }
    for (const handle of this.#inherited.values()) handle.close();
    this.#open.clear();
    this.#inherited.clear();
  }
}

function opened(listener: Server | Socket, open: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once("error", reject);
    open(() => {
      listener.removeListener("error", reject);
      resolve();
    });
  });
}

function share(where: ListenAddress, handle: RawHandle | undefined): void {
  if (handle) tellParent({ kind: "listener", ...where }, handle);
}

function tellParent(message: HandoverMessage, handle?: RawHandle): void {
  // A parent that has died hears nothing; serving goes on.
  if (process.connected) process.send?.(message, handle as unknown as SendHandle, { keepOpen: true }, () => {});
}

/** Node passes listening sockets between processes by this field only; it has no public name. */
function rawTcpHandle(server: Server): RawHandle | undefined {
  return (server as unknown as { _handle?: RawHandle })._handle;
}

/** The same for UDP, where the field is behind a symbol. */
function rawUdpHandle(socket: Socket): RawHandle | undefined {
  const state = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === "state symbol");
  if (state === undefined) return undefined;
  return (socket as unknown as Record<symbol, { handle?: RawHandle }>)[state]?.handle;
}
