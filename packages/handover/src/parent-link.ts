import type { SendHandle } from "node:child_process";
import type { HandoverMessage, RawHandle } from "./handover-message.ts";

/** A parent that has an IPC channel for something else never answers. */
const PARENT_PATIENCE_MS = 5000;

/** What a process hears of the parent that keeps its listening sockets. */
export interface ParentListener {
  heard(message: HandoverMessage, handle: RawHandle | undefined): void;
  /** The parent has gone. */
  lost?(): void;
}

/** Says hello to the parent, and resolves once it has given everything it kept, or has gone; after 5 s at the latest. */
export async function greetParent({ heard, lost }: ParentListener): Promise<void> {
  if (process.send === undefined) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, PARENT_PATIENCE_MS);
    const go = () => {
      clearTimeout(timer);
      resolve();
    };
    process.on("message", (message: HandoverMessage, handle: unknown) => {
      if (message.kind === "start") go();
      else heard(message, handle as RawHandle | undefined);
    });
    process.once("disconnect", () => {
      lost?.();
      go();
    });
    tellParent({ kind: "hello" });
  });
}

/** Tells the parent, if there is one that still lives: serving goes on without. */
export function tellParent(message: HandoverMessage, handle?: RawHandle): void {
  if (process.connected) process.send?.(message, handle as unknown as SendHandle, { keepOpen: true }, () => {});
}
