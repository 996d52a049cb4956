import { createSocket, type Socket } from "node:dgram";
import type { Server } from "node:net";

/** An address of ours. */
export interface ListenAddress {
  protocol: "tcp" | "udp";
  address: string;
  port: number;
}

/** A message between a data plane and its parent; a listening handle may travel with it. */
export type HandoverMessage =
  | { kind: "hello" }
  | ({ kind: "listener" } & ListenAddress)
  | { kind: "start" }
  | { kind: "ready" };

/** A listening socket without its JavaScript object, as Node passes it between processes. */
type RawHandle = object;

const keyOf = ({ protocol, address, port }: ListenAddress) => `${protocol} ${address} ${port}`;

/**
 * The listening sockets of this process. Each is opened here, or taken over from the process before; a copy goes to the
 * parent, which keeps it open without accepting, so that connections wait while one process replaces another.
 */
export class ListenerSet {
  readonly #inherited = new Map<string, RawHandle>();
  readonly #servers = new Set<Server | Socket>();

  /** Waits for what the parent has kept; returns at once without a parent that keeps listeners. */
  async inherit(): Promise<void> {
    if (process.send === undefined) return;
    await new Promise<void>((resolve) => {
      process.on("message", (message: HandoverMessage, handle: RawHandle | undefined) => {
        if (message.kind === "listener" && handle) this.#inherited.set(keyOf(message), handle);
        if (message.kind === "start") resolve();
      });
      process.once("disconnect", () => resolve());
      process.send?.({ kind: "hello" } satisfies HandoverMessage);
    });
  }

  /** Addresses that the process before served. */
  inheritedAddresses(): string[] {
    return [...this.#inherited.keys()];
  }

  /** Lets a TCP or HTTP server listen; rejects with Node's error. */
  async listen(server: Server, address: string, port: number): Promise<void> {
    const where: ListenAddress = { protocol: "tcp", address, port };
    const handle = this.#take(where);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      const done = () => {
        server.removeListener("error", reject);
        resolve();
      };
      if (handle) server.listen(handle, done);
      else server.listen({ host: address, port, reusePort: process.platform === "linux" }, done);
    });
    this.#servers.add(server);
    this.#share(where, handle ?? rawHandle(server));
  }

  /** Opens a UDP socket; rejects with Node's error. */
  async bind(address: string, port: number): Promise<Socket> {
    const socket = createSocket({ type: "udp4", reusePort: process.platform === "linux" });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeListener("error", reject);
        resolve();
      });
    });
    this.#servers.add(socket);
    return socket;
  }

  #take(where: ListenAddress): RawHandle | undefined {
    const key = keyOf(where);
    const handle = this.#inherited.get(key);
    this.#inherited.delete(key);
    return handle;
  }

  #share(where: ListenAddress, handle: RawHandle | undefined): void {
    if (!process.connected || handle === undefined) return;
    process.send?.(
      { kind: "listener", ...where } satisfies HandoverMessage,
      handle as never,
      { keepOpen: true } as never,
      () => {},
    );
  }

  /** Tells the parent that everything is open. */
  ready(): void {
    if (process.connected) process.send?.({ kind: "ready" } satisfies HandoverMessage, () => {});
  }

  /** Stops accepting; the parent's copies keep the addresses. */
  stop(): void {
    for (const server of this.#servers) server.close();
  }
}

/** Node passes listening sockets between processes by this field only; it has no public name. */
function rawHandle(server: Server): RawHandle | undefined {
  return (server as unknown as { _handle?: RawHandle })._handle;
}
