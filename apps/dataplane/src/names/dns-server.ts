import type { Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { failureAnswer, meshAnswer, type NameMeaning, readQuery } from "./dns-answer.ts";
import { type DnsForwarder, withLength } from "./dns-forwarder.ts";

/** What a name server answers from. */
export interface NameSource {
  /** True for names that only the mesh may answer. */
  owns(name: string): boolean;
  /** What a mesh name means; its address accepts connections once this resolves. */
  meaningOf(name: string): Promise<NameMeaning>;
  forwarder: DnsForwarder;
}

const NOT_IMPLEMENTED = 4;
const SERVER_FAILURE = 2;
const IDLE_MS = 10_000;
const LONGEST_QUERY = 4096;

/** Answers one DNS message; undefined for what deserves no answer. */
async function answerQuery(packet: Buffer, source: NameSource, protocol: "udp" | "tcp"): Promise<Buffer | undefined> {
  const read = readQuery(packet);
  if (read === undefined) return undefined;
  const { query, question } = read;
  if (question.class !== "IN" && question.class !== undefined) return failureAnswer(query, NOT_IMPLEMENTED);
  if (source.owns(question.name)) return meshAnswer(query, question, await source.meaningOf(question.name));
  return (await source.forwarder.ask(packet, protocol)) ?? failureAnswer(query, SERVER_FAILURE);
}

/** Serves names on a UDP socket. */
export function serveUdp(socket: UdpSocket, source: NameSource): void {
  socket.on("message", (packet, from) => {
    answerQuery(packet, source, "udp").then(
      (answer) => answer && socket.send(answer, from.port, from.address),
      () => {},
    );
  });
  // An answer that could not be delivered is the asker's to repeat.
  socket.on("error", () => {});
}

/** A server for names by TCP; the caller lets it listen. */
export function createTcpNameServer(source: NameSource): Server {
  return createServer((connection) => {
    let waiting: Buffer = Buffer.alloc(0);
    connection.setTimeout(IDLE_MS, () => connection.destroy());
    connection.on("error", () => connection.destroy());
    connection.on("data", (chunk) => {
      waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
      waiting = takeQueries(waiting, (query) => void reply(connection, query, source));
      if (waiting.length > LONGEST_QUERY + 2) connection.destroy();
    });
  });
}

function takeQueries(buffer: Buffer, take: (query: Buffer) => void): Buffer {
  let rest = buffer;
  while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
    const end = 2 + rest.readUInt16BE(0);
    take(rest.subarray(2, end));
    rest = rest.subarray(end);
  }
  return rest;
}

async function reply(connection: Socket, query: Buffer, source: NameSource): Promise<void> {
  const answer = await answerQuery(query, source, "tcp").catch(() => undefined);
  if (answer && connection.writable) connection.write(withLength(answer));
}
