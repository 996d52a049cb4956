import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { tempFolder } from "@hms/testkit";

/** A way to a PostgreSQL on a unix socket, on which something breaks when told to. */
export interface FaultyProxy extends AsyncDisposable {
  /** The folder of its socket: `host` of a connection. */
  readonly host: string;
  /** Open connections pass nothing on any more and tell neither side; new ones work. */
  halfOpen(): void;
  /** The next answer on each open connection is lost and the connection broken: what was asked for has been done. */
  loseAnswers(): void;
  /** Connections that have been broken by loseAnswers(). */
  readonly broken: number;
}

interface Pair {
  client: Socket;
  server: Socket;
  mode: "pass" | "half-open" | "lose-answer";
}

/** Leads to the server whose socket is in `serverFolder`. */
export async function openFaultyProxy(serverFolder: string): Promise<FaultyProxy> {
  const folder = tempFolder();
  const pairs = new Set<Pair>();
  let broken = 0;
  const proxy = createServer((client) => {
    const pair: Pair = { client, server: connect(join(serverFolder, ".s.PGSQL.5432")), mode: "pass" };
    pairs.add(pair);
    const end = () => {
      if (pair.mode === "half-open") return;
      pairs.delete(pair);
      client.destroy();
      pair.server.destroy();
    };
    for (const socket of [client, pair.server]) socket.on("error", () => {}).on("close", end);
    client.on("data", (data) => pair.mode === "half-open" || pair.server.write(data));
    pair.server.on("data", (data) => {
      if (pair.mode === "pass") client.write(data);
      if (pair.mode !== "lose-answer") return;
      broken += 1;
      end();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(join(folder.path, ".s.PGSQL.5432"), resolve));
  const change = (mode: Pair["mode"]) => {
    for (const pair of pairs) pair.mode = mode;
  };
  return {
    host: folder.path,
    halfOpen: () => change("half-open"),
    loseAnswers: () => change("lose-answer"),
    get broken() {
      return broken;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => proxy.close(resolve));
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      await closed;
      folder[Symbol.dispose]();
    },
  };
}
