import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A service whose requests run until they are told to end. */
export interface HoldingService extends AsyncDisposable {
  port: number;
  /** How many run now. */
  readonly running: number;
  /** Ends this many, the oldest first; all by default. */
  release(count?: number): void;
}

/** Starts one. */
export async function startHoldingService(): Promise<HoldingService> {
  const held: ServerResponse[] = [];
  const server = createServer((_, response) => {
    held.push(response);
    response.once("close", () => {
      const index = held.indexOf(response);
      if (index >= 0) held.splice(index, 1);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get running() {
      return held.length;
    },
    release: (count = held.length) => {
      for (const response of held.splice(0, count)) response.end("done");
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
