import { createServer, type Server } from "node:net";

/** Names that this process has taken; the kernel gives them back when it ends, however it ends. */
const held = new Map<string, Server>();

/**
 * Takes a name on this machine for as long as this process lives; false if another process has it. Two installations
 * that start at the same moment both find a port free: only one of them gets its name. Where the system has no abstract
 * sockets (anything but Linux) everybody gets every name.
 */
export function claimOnMachine(name: string): Promise<boolean> {
  if (process.platform !== "linux" || held.has(name)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => resolve(false));
    server.listen(`\0hms-sys.${name}`, () => {
      server.unref();
      held.set(name, server);
      resolve(true);
    });
  });
}

/** Gives a name back. */
export function releaseClaim(name: string): void {
  held.get(name)?.close();
  held.delete(name);
}
