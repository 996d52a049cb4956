import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { Server } from "node:net";
import { closeBesideSibling, closeUdpWhenEmpty } from "./gentle-close.ts";
import { addressKey, type HandoverMessage, type ListenAddress, type RawHandle } from "./handover-message.ts";
import { greetParent, tellParent } from "./parent-link.ts";
import { heldElsewhere } from "./port-holder.ts";
import { rawTcpHandle, rawUdpHandle } from "./raw-handle.ts";
import { inodeOf } from "./socket-table.ts";

/** Only Linux spreads connections over sockets that share a port. */
const sharesPorts = process.platform === "linux";

interface OpenListener {
  where: ListenAddress;
  listener: Server | UdpSocket;
  /** A copy is in the parent's hands: closing ours loses nothing. */
  isKept: boolean;
}

/**
 * The listening sockets of this process. Each is opened here, or taken over from the process before; a copy goes to the
 * parent, which keeps it open without accepting, so that connections wait while one process replaces another. Without a
 * parent that keeps listeners it just listens.
 */
export class ListenerSet {
  readonly #inherited = new Map<string, { where: ListenAddress; handle: RawHandle }>();
  readonly #open = new Map<string, OpenListener>();
  #isNoted = false;
  #isStopped = false;

  /** True once the parent has noted this process: from then on the parent's successor will find it. */
  get isKept(): boolean {
    return this.#isNoted;
  }

  /** How many addresses are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Waits for what the parent has kept, 5 s at most. */
  async inherit(): Promise<void> {
    await greetParent({
      heard: (message, handle) => this.#hear(message, handle),
      lost: () => {
        for (const open of this.#open.values()) open.isKept = false;
      },
    });
  }

  #hear(message: HandoverMessage, handle: RawHandle | undefined): void {
    if (message.kind === "keep") this.#isNoted = true;
    if (message.kind === "listener" && handle) {
      const { protocol, address, port } = message;
      this.#inherited.set(addressKey(message), { where: { protocol, address, port }, handle });
    }
    if (message.kind === "kept") {
      const open = this.#open.get(addressKey(message));
      if (open) open.isKept = true;
    }
  }

  /** Lets a TCP or HTTP server listen; rejects with Node's error, or once this set has been stopped. */
  async listen(server: Server, address: string, port: number): Promise<void> {
    const where: ListenAddress = { protocol: "tcp", address, port };
    const handle = this.#claim(where);
    await opened(server, (done) => {
      if (handle) server.listen(handle, done);
      else server.listen({ host: address, port, reusePort: sharesPorts }, done);
    });
    this.#add({ where, listener: server, isKept: handle !== undefined && process.connected }, rawTcpHandle(server));
  }

  /** Opens a UDP socket; rejects with Node's error, or once this set has been stopped. */
  async bind(address: string, port: number): Promise<UdpSocket> {
    const where: ListenAddress = { protocol: "udp", address, port };
    const handle = this.#claim(where);
    const socket = createSocket({ type: "udp4", reusePort: sharesPorts });
    await opened(socket, (done) => {
      if (handle) socket.bind(handle as never, done);
      else socket.bind({ address, port, exclusive: true }, done);
    });
    this.#add({ where, listener: socket, isKept: handle !== undefined && process.connected }, rawUdpHandle(socket));
    return socket;
  }

  #claim(where: ListenAddress): RawHandle | undefined {
    if (this.#isStopped) throw new Error("this process stops; its successor listens");
    const key = addressKey(where);
    const handle = this.#inherited.get(key)?.handle;
    this.#inherited.delete(key);
    return handle;
  }

  #add(open: OpenListener, handle: RawHandle | undefined): void {
    this.#open.set(addressKey(open.where), open);
    if (!open.isKept && handle) tellParent({ kind: "listener", ...open.where }, handle);
  }

  /** Closes one address for good: the parent lets go of it, too. */
  close(where: ListenAddress): void {
    const key = addressKey(where);
    this.#open.get(key)?.listener.close();
    this.#open.delete(key);
    tellParent({ kind: "closed", ...where });
  }

  /** Lets go of what the process before has served and this one does not, so that nobody waits there for an answer. */
  closeUnclaimed(): void {
    for (const { where, handle } of this.#inherited.values()) {
      handle.close();
      tellParent({ kind: "closed", ...where });
    }
    this.#inherited.clear();
  }

  /** Tells the parent that everything is open. */
  ready(): void {
    tellParent({ kind: "ready" });
  }

  /**
   * Stops accepting connections, without losing one that waits: those of kept sockets wait for the successor, others are
   * taken until none waits. Connections that were accepted go on. Kept UDP sockets can still send.
   */
  async stop(): Promise<void> {
    this.#isStopped = true;
    const all = [...this.#open.values()];
    this.#open.clear();
    for (const { handle } of this.#inherited.values()) handle.close();
    this.#inherited.clear();
    noteSharedSockets(all);
    await Promise.all(all.map(stopListening));
  }
}

/** A successor, or whoever keeps for the parent, may have a copy of what the parent's death has left to us. */
function noteSharedSockets(all: readonly OpenListener[]): void {
  const inodes = new Map(all.filter(({ isKept }) => !isKept).map((open) => [inodeOfListener(open), open]));
  if (!sharesPorts || inodes.size === 0) return;
  const shared = heldElsewhere(new Set([...inodes.keys()].filter((inode) => inode !== undefined)));
  for (const [inode, open] of inodes) if (inode !== undefined && shared.has(inode)) open.isKept = true;
}

function inodeOfListener({ listener }: OpenListener): string | undefined {
  const handle = listener instanceof Server ? rawTcpHandle(listener) : rawUdpHandle(listener);
  return handle && inodeOf(handle.fd);
}

async function stopListening({ listener, isKept }: OpenListener): Promise<void> {
  if (listener instanceof Server) {
    // An HTTP server's own `close` would also cut connections that wait for their next request.
    if (isKept) Server.prototype.close.call(listener);
    else await closeBesideSibling(listener);
  } else if (isKept) {
    rawUdpHandle(listener)?.recvStop();
  } else {
    await closeUdpWhenEmpty(listener);
  }
}

function opened(listener: Server | UdpSocket, open: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once("error", reject);
    open(() => {
      listener.removeListener("error", reject);
      resolve();
    });
  });
}
