import { createSocket } from "node:dgram";
import { connect } from "node:net";
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
