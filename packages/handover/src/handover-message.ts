/** An address to listen on. */
export interface ListenAddress {
  protocol: "tcp" | "udp";
  address: string;
  port: number;
}

/** A message between a process that listens and its parent; a listening handle may travel with it. */
export type HandoverMessage =
  | { kind: "hello" }
  | ({ kind: "listener" } & ListenAddress)
  | { kind: "start" }
  | { kind: "ready" }
  | { kind: "keep" };

/** A listening socket without its JavaScript object, as Node passes it between processes. */
export interface RawHandle {
  close(): void;
}

/** Names an address among others. */
export function addressKey({ protocol, address, port }: ListenAddress): string {
  return `${protocol} ${address} ${port}`;
}
