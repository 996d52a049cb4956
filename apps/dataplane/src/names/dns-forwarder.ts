import { createSocket } from "node:dgram";
import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";

const FILE = "/etc/resolv.conf";
const PATIENCE_MS = 2500;
const LOOK_EVERY_MS = 5000;

/** Asks the machine's own resolvers; queries go out as they came in. */
export class DnsForwarder {
  readonly #isOurs: (address: string) => boolean;
  #servers: string[] = [];
  #lookedAt = 0;
  #changedAt = 0;

  /** Servers that are ours are never asked: that would be a loop. */
  constructor(isOurs: (address: string) => boolean) {
    this.#isOurs = isOurs;
  }

  /** The first answer of the resolvers in turn; undefined if none answers within 2.5 s each. */
  async ask(query: Buffer, protocol: "udp" | "tcp"): Promise<Buffer | undefined> {
    for (const server of this.#resolvers()) {
      const answer = await (protocol === "udp" ? askByUdp(server, query) : askByTcp(server, query));
      if (answer) return answer;
    }
    return undefined;
  }

  #resolvers(): string[] {
    const now = Date.now();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return this.#servers;
    this.#lookedAt = now;
    try {
      const { mtimeMs } = statSync(FILE);
      if (mtimeMs === this.#changedAt) return this.#servers;
      this.#changedAt = mtimeMs;
      const lines = readFileSync(FILE, "utf8").split("\n");
      const named = lines.map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "");
      this.#servers = named.filter((server) => server !== "" && !this.#isOurs(server));
    } catch {
      // No such file: no resolvers.
      this.#servers = [];
    }
    return this.#servers;
  }
}

function askByUdp(server: string, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
    const end = (answer?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(end, PATIENCE_MS);
    socket.once("error", () => end());
    socket.on("message", (answer) => {
      if (answer.readUInt16BE(0) === query.readUInt16BE(0)) end(answer);
    });
    socket.connect(53, server, () => socket.send(query));
  });
}

function askByTcp(server: string, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: server, port: 53, timeout: PATIENCE_MS });
    const end = (answer?: Buffer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => socket.write(withLength(query)));
    socket.once("timeout", () => end());
    socket.once("error", () => end());
    socket.once("close", () => end());
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      const all = Buffer.concat(chunks);
      if (all.length >= 2 && all.length >= 2 + all.readUInt16BE(0)) end(all.subarray(2, 2 + all.readUInt16BE(0)));
    });
  });
}

/** A DNS message as TCP carries it: its length first (RFC 1035 §4.2.2). */
export function withLength(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, 2);
  return framed;
}
