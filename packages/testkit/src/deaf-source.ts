import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { ConnectionSource } from "@hms/postgres";
import { tempFolder } from "./temp-folder.ts";

/** A way to a database on which notifications get lost, and nothing else. */
export interface DeafSource extends AsyncDisposable {
  readonly source: ConnectionSource;
  /** Notifications that have been lost so far. */
  readonly lost: number;
}

/** PostgreSQL's NotificationResponse (message formats of its protocol). */
const NOTIFICATION = 0x41;
const HEADER_BYTES = 5;

/** Leads to the same database; what PostgreSQL would notify of never arrives. Only for connections without TLS. */
export async function openDeafSource(inner: ConnectionSource): Promise<DeafSource> {
  const folder = tempFolder();
  const { host, port } = inner.as("nobody");
  const target = String(host).startsWith("/")
    ? { path: join(String(host), `.s.PGSQL.${port}`) }
    : { host: String(host), port: Number(port ?? 5432) };
  const open = new Set<Socket>();
  let lost = 0;
  const server = createServer((client) => {
    const behind = connect(target);
    for (const socket of [client, behind]) {
      open.add(socket);
      socket.on("error", () => {});
    }
    client.pipe(behind);
    const filter = withoutNotifications((count) => (lost += count));
    behind.on("data", (chunk) => client.write(filter(chunk)));
    client.on("close", () => open.delete(client) && behind.destroy());
    behind.on("close", () => open.delete(behind) && client.destroy());
  });
  const own = await listening(server, folder.path);
  const source = (from: ConnectionSource): ConnectionSource => ({
    ...from,
    admin: async () => ({ ...(await from.admin()), ...own }),
    as: (role) => ({ ...from.as(role), ...own }),
    withDatabase: (name) => source(from.withDatabase(name)),
  });
  return {
    source: source(inner),
    get lost() {
      return lost;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of open) socket.destroy();
      await closed;
      folder[Symbol.dispose]();
    },
  };
}

/** On a unix socket: pg asks for no TLS there. */
async function listening(server: Server, host: string): Promise<{ host: string; port: number }> {
  const port = 5432;
  await new Promise<void>((resolve) => server.listen(join(host, `.s.PGSQL.${port}`), resolve));
  return { host, port };
}

/** Takes what the server sends, in pieces of any size, and gives what is left of it. */
function withoutNotifications(lose: (count: number) => void): (chunk: Buffer) => Buffer {
  let waiting: Buffer = Buffer.alloc(0);
  return (chunk) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    const kept: Buffer[] = [];
    let at = 0;
    while (waiting.length - at >= HEADER_BYTES) {
      const end = at + 1 + waiting.readUInt32BE(at + 1);
      if (end > waiting.length) break;
      if (waiting[at] === NOTIFICATION) lose(1);
      else kept.push(waiting.subarray(at, end));
      at = end;
    }
    waiting = waiting.subarray(at);
    return Buffer.concat(kept);
  };
}
