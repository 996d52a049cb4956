import type { Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, Server, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { rawTcpHandle, rawUdpHandle } from "./raw-handle.ts";
import { inodeOf, readSocketTable } from "./socket-table.ts";

const LOCAL = "127.0.0.1";
const BACKLOG = 511;
/** If all of them come back to us, nobody else listens there (or, once in 4096 times, by chance). */
const PROBES = 12;
const PROBE_PATIENCE_MS = 50;
/** A source port may have become somebody else's: after so many attempts another one is looked for. */
const ATTEMPTS = 10;
const ACCEPT_TURNS = 20;
const ROUNDS = 500;
/** A process that is so busy that connections always wait closes its sockets after this time all the same. */
const PATIENCE_MS = 5000;

/**
 * Closes a listening TCP socket of which no other process has a copy, while another process listens on the same address
 * (SO_REUSEPORT). The kernel resets what waits in the accept queue of a socket that is closed, so it is closed while
 * nothing waits there but a connection of our own: with a queue of length one, nobody else gets in, and the kernel of a
 * client that was not let in tries again a second later, at the other process. Accepted connections go on.
 */
export async function closeBesideSibling(server: Server): Promise<void> {
  const address = server.address() as AddressInfo | null;
  const until = performance.now() + PATIENCE_MS;
  if (process.platform === "linux" && address?.family === "IPv4") {
    while (server.listening && performance.now() < until) {
      const port = await findOwnSourcePort(server, address);
      if (port === undefined) break;
      await closeWhenEmpty(server, { address, port, until });
    }
  }
  closeListening(server);
}

async function closeWhenEmpty(
  server: Server,
  { address, port, until }: { address: AddressInfo; port: number; until: number },
): Promise<void> {
  let accepted = true;
  const note = () => {
    accepted = true;
  };
  server.on("connection", note);
  for (let attempt = 0; attempt < ATTEMPTS && server.listening && performance.now() < until; ) {
    accepted = false;
    // Each turn of the event loop accepts one connection; where it found none, the queue is empty.
    await nextTurn();
    if (accepted) continue;
    attempt += 1;
    await closeBehindPlug(server, address, port);
  }
  server.off("connection", note);
}

/**
 * The kernel chooses the socket of a connection by its addresses and ports: a source port from which connections come to
 * this server, and go on to do so. Undefined if no connection goes elsewhere.
 */
async function findOwnSourcePort(server: Server, address: AddressInfo): Promise<number | undefined> {
  let own: number | undefined;
  let hasSibling = false;
  for (let probe = 0; probe < PROBES && !(hasSibling && own !== undefined); probe += 1) {
    const { port, isOurs } = await sendProbe(server, address);
    if (isOurs) own = port;
    else hasSibling = true;
  }
  return hasSibling ? own : undefined;
}

async function sendProbe(server: Server, address: AddressInfo): Promise<{ port: number; isOurs: boolean }> {
  const probe = connect({ host: address.address, port: address.port });
  let port = 0;
  let isOurs = false;
  const look = ({ remotePort, remoteAddress }: Socket) => {
    isOurs ||= remoteAddress === LOCAL && remotePort === probe.localPort;
  };
  server.on("connection", look);
  try {
    await once(probe, "connect", { signal: AbortSignal.timeout(PROBE_PATIENCE_MS) });
    // Not known any more once it is closed.
    port = probe.localPort ?? 0;
    // What is ours is in our queue by now, and accepted within a few turns of the event loop.
    for (let turn = 0; turn < ACCEPT_TURNS && !isOurs; turn += 1) await nextTurn();
  } catch {
    // The queue is full: the next probe says more.
  } finally {
    server.off("connection", look);
    // Reset, not closed: the port can be used again at once.
    probe.on("error", () => {}).resetAndDestroy();
  }
  return { port, isOurs };
}

async function closeBehindPlug(server: Server, { address, port }: AddressInfo, localPort: number): Promise<void> {
  const listening = rawTcpHandle(server);
  listening?.listen(0);
  const plug = connect({ host: address, port, localAddress: LOCAL, localPort }).on("error", () => {});
  // Node begins connections in the next tick; what comes after it still runs before anything is accepted.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  // The kernel connects on this machine at once, if there is room.
  if (rawTcpHandle(plug)?.getpeername({}) === 0) closeListening(server);
  else listening?.listen(BACKLOG);
  plug.resetAndDestroy();
}

/** An HTTP server's own `close` would also cut connections that wait for their next request. */
function closeListening(server: Server): void {
  if (server.listening) Server.prototype.close.call(server);
}

/**
 * Closes a UDP socket of which no other process has a copy, at a moment when no datagram waits in it. One that arrives
 * in the microseconds between the look and the close is lost; who sent it asks again.
 */
export async function closeUdpWhenEmpty(socket: UdpSocket): Promise<void> {
  const handle = rawUdpHandle(socket);
  const inode = handle && inodeOf(handle.fd);
  const isEmpty = () => readSocketTable("udp").find((entry) => entry.inode === inode)?.queued === 0;
  for (let round = 0; round < ROUNDS && inode !== undefined && !isEmpty(); round += 1) await nextTurn();
  socket.close();
}
