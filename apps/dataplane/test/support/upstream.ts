import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A small service. */
export interface Upstream extends AsyncDisposable {
  port: number;
}

/** Answers every request with its name after the milliseconds that `?ms=` says, echoing nothing else. */
export async function startUpstream(name: string): Promise<Upstream> {
  const server = createServer((request, response) => {
    request.resume();
    const ms = Number(new URL(request.url ?? "/", "http://x").searchParams.get("ms") ?? 0);
    setTimeout(() => response.end(name), ms);
  });
  server.on("upgrade", (_, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    socket.pipe(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
