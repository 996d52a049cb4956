import type { ChildProcess, SendHandle } from "node:child_process";
import { addressKey, type HandoverMessage, type ListenAddress, type RawHandle } from "./handover-message.ts";
import { greetParent, tellParent } from "./parent-link.ts";

/**
 * The parent's side: keeps a copy of every listening socket of a child, without accepting anything, and gives the copies
 * to the child's successor. While no child is there, connections and datagrams wait in the kernel. A keeper whose own
 * parent keeps listeners, too, hands its copies on to that one and inherits them after its own death.
 */
export class ListenerKeeper {
  readonly #kept = new Map<string, { where: ListenAddress; handle: RawHandle }>();
  /** From the oldest that still runs to the newest. */
  readonly #children: ChildProcess[] = [];
  #handsOn = false;

  /** Takes what this process's parent has kept for the process before, and hands copies on; waits 5 s at most. */
  async inherit(): Promise<void> {
    this.#handsOn = true;
    await greetParent({
      heard: (message, handle) => {
        if (message.kind === "listener" && handle) this.#keep(message, handle);
      },
    });
  }

  /** True if there is a copy of this address's socket. */
  has(where: ListenAddress): boolean {
    return this.#kept.has(addressKey(where));
  }

  /** Serves a new child, spawned with an IPC channel; resolves when it is ready, rejects if it ends before. */
  attach(child: ChildProcess): Promise<void> {
    this.#children.push(child);
    return new Promise((resolve, reject) => {
      child.on("message", (message: HandoverMessage, handle: unknown) => {
        if (message.kind === "hello") this.#greet(child);
        if (message.kind === "listener" && handle) this.#take(child, message, handle as RawHandle);
        if (message.kind === "closed" && this.#isNewest(child)) this.#drop(message);
        if (message.kind === "ready") resolve();
      });
      child.once("exit", (code, signal) => {
        this.#children.splice(this.#children.indexOf(child), 1);
        reject(new Error(`it ended before it was ready (${signal ?? code})`));
      });
      child.once("error", reject);
    });
  }

  /** Tells a child that it has been noted: if the parent dies now, the child shall go on. */
  confirm(child: ChildProcess): void {
    send(child, { kind: "keep" });
  }

  #isNewest(child: ChildProcess): boolean {
    return this.#children.at(-1) === child;
  }

  #greet(child: ChildProcess): void {
    for (const { where, handle } of this.#kept.values()) send(child, { kind: "listener", ...where }, handle);
    send(child, { kind: "start" });
  }

  #take(child: ChildProcess, { protocol, address, port }: ListenAddress, handle: RawHandle): void {
    // Its successor has been told what there is: a socket that it does not know would wait for nobody.
    if (!this.#isNewest(child)) {
      handle.close();
      return;
    }
    const where = { protocol, address, port };
    this.#keep(where, handle);
    send(child, { kind: "kept", ...where });
    if (this.#handsOn) tellParent({ kind: "listener", ...where }, handle);
  }

  #keep({ protocol, address, port }: ListenAddress, handle: RawHandle): void {
    const where = { protocol, address, port };
    const key = addressKey(where);
    this.#kept.get(key)?.handle.close();
    this.#kept.set(key, { where, handle });
  }

  #drop({ protocol, address, port }: ListenAddress): void {
    const where = { protocol, address, port };
    const key = addressKey(where);
    this.#kept.get(key)?.handle.close();
    this.#kept.delete(key);
    if (this.#handsOn) tellParent({ kind: "closed", ...where });
  }

  /** Lets go of every socket. */
  close(): void {
    for (const { where } of [...this.#kept.values()]) this.#drop(where);
  }
}

function send(child: ChildProcess, message: HandoverMessage, handle?: RawHandle): void {
  // A child that has died in between hears nothing; its end is noticed elsewhere.
  if (child.connected) child.send(message, handle as unknown as SendHandle, { keepOpen: true }, () => {});
}
