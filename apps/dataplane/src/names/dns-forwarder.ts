import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { withLength } from "./dns-message.ts";

const DNS_PORT = 53;
const PATIENCE_MS = 2000;
const MOST_AT_ONCE = 200;

/** Asks the machine's own resolvers; queries go out, and answers come back, as they are. */
export class DnsForwarder {
  readonly #servers: () => readonly string[];
  readonly #port: number;
  #running = 0;
  #lastGood = "";

  /** `servers` is asked for their addresses each time. */
  constructor(servers: () => readonly string[], port = DNS_PORT) {
    this.#servers = servers;
    this.#port = port;
  }

  /**
   * The first answer of the resolvers in turn, the one that answered last first; undefined if none answers within 2 s
   * each, or if 200 queries are waiting already.
   */
  async ask(query: Buffer, protocol: "udp" | "tcp"): Promise<Buffer | undefined> {
    if (this.#running >= MOST_AT_ONCE) return undefined;
    this.#running += 1;
    try {
      for (const server of this.#inOrder()) {
        const answer = await (protocol === "udp" ? this.#byUdp(server, query) : this.#byTcp(server, query));
        if (!answer) continue;
        this.#lastGood = server;
        return answer;
      }
      return undefined;
    } finally {
      this.#running -= 1;
    }
  }

  #inOrder(): string[] {
    const servers = this.#servers();
    const good = servers.filter((server) => server === this.#lastGood);
    return [...good, ...servers.filter((server) => server !== this.#lastGood)];
  }

  #byUdp(server: string, query: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
      let hasEnded = false;
      const end = (answer?: Buffer) => {
        if (hasEnded) return;
        hasEnded = true;
        clearTimeout(timer);
        socket.close();
        resolve(answer);
      };
      const timer = setTimeout(end, PATIENCE_MS);
      socket.on("error", () => end());
      socket.on("message", (answer) => {
        if (isAnswerTo(query, answer)) end(answer);
      });
      // Node says here, and not by an event, that there is no way to the server.
      const send = (error?: Error | null) => {
        if (error) end();
        else if (!hasEnded) socket.send(query, () => {});
      };
      // Connected, so that nobody but this server can answer.
      socket.connect(this.#port, server, send);
    });
  }

  #byTcp(server: string, query: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      let received: Buffer = Buffer.alloc(0);
      const socket = connect({ host: server, port: this.#port });
      const end = (answer?: Buffer) => {
        clearTimeout(timer);
        socket.destroy();
        resolve(answer);
      };
      const timer = setTimeout(end, PATIENCE_MS);
      socket.once("connect", () => socket.write(withLength(query)));
      socket.once("error", () => end());
      socket.once("close", () => end());
      socket.on("data", (chunk) => {
        received = Buffer.concat([received, chunk]);
        const whole = received.length >= 2 && received.length >= 2 + received.readUInt16BE(0);
        if (whole) end(received.subarray(2, 2 + received.readUInt16BE(0)));
      });
    });
  }
}

function isAnswerTo(query: Buffer, answer: Buffer): boolean {
  return answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0) && (answer.readUInt8(2) & 0x80) !== 0;
}
