/** An address to listen on. */
export interface ListenAddress {
  protocol: "tcp" | "udp";
  address: string;
  port: number;
}

/** A message between a process that listens and its parent; a listening handle may travel with `listener`. */
export type HandoverMessage =
  /** Child: it is there and wants what was kept. */
  | { kind: "hello" }
  /** Child: it has opened this one. Parent: this one was kept. */
  | ({ kind: "listener" } & ListenAddress)
  /** Parent: a copy is kept, so the child may close its own at any time. */
  | ({ kind: "kept" } & ListenAddress)
  /** Child: this address is not served any more, by nobody. */
  | ({ kind: "closed" } & ListenAddress)
  /** Parent: that was all. */
  | { kind: "start" }
  /** Child: it serves. */
  | { kind: "ready" }
  /** Parent: the child has been noted and shall go on without a parent. */
  | { kind: "keep" };

/** A listening socket without its JavaScript object, as Node passes it between processes. */
export interface RawHandle {
  close(): void;
}

/** Names an address among others. */
export function addressKey({ protocol, address, port }: ListenAddress): string {
  return `${protocol} ${address} ${port}`;
}
