import { connect, createServer, type Server } from "node:net";

const ANSWER_PATIENCE_MS = 1000;

/** Names that this process has taken; the kernel gives them back when it ends, however it ends. */
const held = new Map<string, Server>();

/**
 * Takes a name on this machine for as long as this process lives; false if another process has it. Two installations
 * that start at the same moment both find a port free: only one of them gets its name. Where the system has no abstract
 * sockets (anything but Linux) everybody gets every name. `holder` is what others are told of this process.
 */
export function claimOnMachine(name: string, holder = ""): Promise<boolean> {
  if (process.platform !== "linux" || held.has(name)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.on("error", () => {}).end(holder));
    server.once("error", () => resolve(false));
    server.listen(address(name), () => {
      server.unref();
      held.set(name, server);
      resolve(true);
    });
  });
}

/** What the process that has a name says of itself; empty if nobody has it, or says nothing. */
export function holderOnMachine(name: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(address(name));
    let said = "";
    socket.setTimeout(ANSWER_PATIENCE_MS, () => socket.destroy());
    socket.on("data", (text) => {
      said += text;
    });
    socket.on("error", () => {});
    socket.once("close", () => resolve(said));
  });
}

const address = (name: string) => `\0hms-sys.${name}`;

/** Gives a name back. */
export function releaseClaim(name: string): void {
  held.get(name)?.close();
  held.delete(name);
}
