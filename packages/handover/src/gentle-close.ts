import type { Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, connect, Server, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type RawTcpHandle, rawTcpHandle, rawUdpHandle } from "./raw-handle.ts";
import { hexAddress, hexPort, inodeOf, readSocketTable, type SocketEntry } from "./socket-table.ts";

const LISTENS = "0A";
/** Established, handshake not over, closed by the client: connections that may wait to be accepted. */
const MAY_WAIT = new Set(["01", "03", "08"]);
const ROUNDS = 200;
const BACKLOG = 511;
/** Each of them meets the closing socket with a chance of one half. */
const PLUGS = 6;

interface Closing {
  server: Server;
  handle: RawTcpHandle;
  address: AddressInfo;
  local: string;
  inode: string;
}

/**
 * Closes listening TCP sockets of which no other process has a copy, while another process listens on the same addresses
 * (SO_REUSEPORT). The kernel resets connections that wait in the queue of a socket that is closed, so each one is closed
 * while its queue holds nothing but a connection of our own: with a queue of length one, nobody else gets in, and the
 * kernel of a client that was not let in tries again, at the other process. Connections that were accepted go on.
 */
export async function closeBesideSibling(servers: readonly Server[]): Promise<void> {
  let left = servers.map(describe).filter((closing) => closing !== undefined);
  for (let round = 0; round < ROUNDS && left.length > 0; round += 1) {
    left = await closeThoseThatCan(left);
    // The event loop accepts what waits before the next round.
    await nextTurn();
  }
  for (const server of servers) if (server.listening) closeServer(server);
}

function describe(server: Server): Closing | undefined {
  const handle = rawTcpHandle(server);
  const address = server.address() as AddressInfo | null;
  const inode = handle && inodeOf(handle.fd);
  if (handle === undefined || inode === undefined || address?.family !== "IPv4") return undefined;
  return { server, handle, address, local: hexAddress(address.address, address.port), inode };
}

/** Answers with those that are still open. */
async function closeThoseThatCan(all: readonly Closing[]): Promise<Closing[]> {
  const before = readSocketTable("tcp");
  const siblings = all.filter((closing) => hasSibling(before, closing));
  for (const closing of all) if (!siblings.includes(closing)) closeServer(closing.server);
  const empty = siblings.filter((closing) => waiting(before, closing) === 0);
  const plugs = empty.flatMap((closing) => plug(closing));
  // Node begins connections in the next tick; what comes after it still runs before anything is accepted.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  const own = new Set(plugs.map(({ localPort = 0 }) => `:${hexPort(localPort)}`));
  const after = readSocketTable("tcp");
  for (const closing of empty) {
    if (waiting(after, closing) > 0 && !hasForeign(after, closing, own)) closeServer(closing.server);
    else closing.handle.listen(BACKLOG);
  }
  for (const socket of plugs) socket.destroy();
  return siblings.filter(({ server }) => server.listening);
}

function plug({ handle, address: { address, port } }: Closing): Socket[] {
  handle.listen(0);
  return Array.from({ length: PLUGS }, () => connect({ host: address, port }).on("error", () => {}));
}

function hasSibling(table: readonly SocketEntry[], { local, inode }: Closing): boolean {
  return table.some((entry) => entry.local === local && entry.state === LISTENS && entry.inode !== inode);
}

function waiting(table: readonly SocketEntry[], { inode }: Closing): number {
  return table.find((entry) => entry.inode === inode)?.queued ?? 0;
}

function hasForeign(table: readonly SocketEntry[], { local }: Closing, own: ReadonlySet<string>): boolean {
  return table.some(
    (entry) =>
      entry.local === local && entry.inode === "0" && MAY_WAIT.has(entry.state) && !own.has(entry.remote.slice(8)),
  );
}

/** An HTTP server's own `close` would also cut connections that wait for their next request. */
function closeServer(server: Server): void {
  Server.prototype.close.call(server);
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
