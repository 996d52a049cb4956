import type { Socket as UdpSocket } from "node:dgram";
import type { Server, Socket as TcpSocket } from "node:net";
import type { RawHandle } from "./handover-message.ts";

/** What Node's TCP handle can do beyond its object; no public name exists for it. */
export interface RawTcpHandle extends RawHandle {
  readonly fd: number;
  /** Sets the length of the accept queue, also of a socket that listens already. */
  listen(backlog: number): number;
  /** Answers 0 if the socket is connected, at this very moment. */
  getpeername(out: object): number;
}

/** The same for UDP. */
export interface RawUdpHandle extends RawHandle {
  readonly fd: number;
  /** Leaves datagrams in the kernel; sending goes on. */
  recvStop(): number;
}

/** The handle of a server that listens, or of a connection; undefined once it is closed. */
export function rawTcpHandle(server: Server | TcpSocket): RawTcpHandle | undefined {
  return (server as unknown as { _handle?: RawTcpHandle })._handle ?? undefined;
}

/** The handle of a bound UDP socket; undefined once it is closed. */
export function rawUdpHandle(socket: UdpSocket): RawUdpHandle | undefined {
  const state = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === "state symbol");
  if (state === undefined) return undefined;
  return (socket as unknown as Record<symbol, { handle?: RawUdpHandle }>)[state]?.handle ?? undefined;
}
