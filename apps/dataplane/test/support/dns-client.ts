import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import * as dns from "dns-packet";

/** A record type that is asked for. */
export type AskedType = dns.RecordType;

const encode = (name: string, type: AskedType) =>
  dns.encode({ type: "query", id: 4242, flags: dns.RECURSION_DESIRED, questions: [{ type, name }] });

/** Asks a name server by UDP, for a second at most. */
export function askByUdp(server: string, name: string, type: AskedType = "A"): Promise<dns.DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    const timer = setTimeout(() => end(new Error(`${server} does not answer for ${name}`)), 5000);
    const end = (error?: Error, answer?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      if (answer) resolve(dns.decode(answer));
      else reject(error);
    };
    socket.once("error", end);
    socket.once("message", (answer) => end(undefined, answer));
    socket.connect(53, server, () => socket.send(encode(name, type)));
  });
}

/** Asks a name server by TCP. */
export function askByTcp(server: string, name: string, type: AskedType = "A"): Promise<dns.DecodedPacket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server, port: 53, timeout: 5000 });
    const query = encode(name, type);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    // Byte by byte: a stream has no packets.
    socket.once("connect", () => {
      for (const byte of Buffer.concat([length, query])) socket.write(Buffer.of(byte));
    });
    let received = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      socket.destroy();
      resolve(dns.decode(received.subarray(2)));
    });
    socket.once("timeout", () => socket.destroy(new Error("no answer by TCP")));
    socket.once("error", reject);
  });
}

/** A resolver that knows one address for every name, by UDP and TCP; port 0 chooses one. */
export async function startResolver(
  host: string,
  data: string,
  port = 53,
): Promise<AsyncDisposable & { port: number }> {
  const answer = (packet: Buffer) => {
    const { id, questions = [] } = dns.decode(packet);
    const name = questions[0]?.name ?? "";
    return dns.encode({ type: "response", id: id ?? 0, questions, answers: [{ type: "A", name, ttl: 60, data }] });
  };
  const udp = createSocket("udp4", (packet, from) => udp.send(answer(packet), from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(port, host, resolve));
  const tcp = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const whole = answer(chunk.subarray(2));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(whole.length);
      // In pieces: an answer may come in several.
      socket.write(length);
      setImmediate(() => socket.end(whole));
    });
  });
  tcp.listen(udp.address().port, host);
  await once(tcp, "listening");
  return {
    port: udp.address().port,
    [Symbol.asyncDispose]: async () => {
      udp.close();
      tcp.close();
    },
  };
}
