import type { Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { withLength } from "./dns-message.ts";
import { answerPacket, type NameSource } from "./name-answer.ts";

const IDLE_MS = 10_000;
const LONGEST_QUERY = 4096;
const MOST_CONNECTIONS = 128;

/** Answers the queries of one environment by UDP and TCP; where it listens is the caller's business. */
export class NameServer {
  readonly #source: Omit<NameSource, "environment">;
  readonly #running = new Set<Promise<void>>();
  /** Whose names it answers with; from the next query on. */
  environment: string;
  /** Answers queries by TCP. */
  readonly tcp: Server;

  constructor({ environment, ...source }: NameSource) {
    this.environment = environment;
    this.#source = source;
    this.tcp = createServer((connection) => this.#accept(connection));
    this.tcp.maxConnections = MOST_CONNECTIONS;
  }

  /** Answers queries that come by this socket. */
  serveUdp(socket: UdpSocket): void {
    socket.on("message", (packet, from) =>
      this.#run(packet, "udp", (answer) => socket.send(answer, from.port, from.address, () => {})),
    );
    // An answer that could not be delivered is the asker's to ask for again.
    socket.on("error", () => {});
  }

  /** Resolves when every query that has come is answered. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #accept(connection: Socket): void {
    let waiting: Buffer = Buffer.alloc(0);
    connection.setTimeout(IDLE_MS, () => connection.destroy());
    connection.on("error", () => connection.destroy());
    connection.on("data", (chunk) => {
      waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
      while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
        const end = 2 + waiting.readUInt16BE(0);
        this.#run(waiting.subarray(2, end), "tcp", (answer) => connection.write(withLength(answer)));
        waiting = waiting.subarray(end);
      }
      if (waiting.length > LONGEST_QUERY + 2) connection.destroy();
    });
  }

  #run(packet: Buffer, protocol: "udp" | "tcp", send: (answer: Buffer) => void): void {
    const run = answerPacket(packet, { ...this.#source, environment: this.environment }, protocol).then((answer) => {
      if (!answer) return;
      try {
        send(answer);
      } catch {
        // The socket was closed meanwhile; who asked asks again.
      }
    });
    this.#running.add(run);
    run.finally(() => this.#running.delete(run)).catch(() => {});
  }
}
