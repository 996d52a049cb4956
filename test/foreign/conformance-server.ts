import { readFileSync } from "node:fs";
import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createRpcListener, httpProtocols } from "@hms/grpc";
import { serveFrames } from "@hms/wire";
import { conformanceKernel } from "./conformance-service.ts";

// The server under test of the Connect conformance suite: conformance-server.ts DESCRIPTORS, order on stdin.
const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.argv[2] as string)));
const desc = (name: string) => files.getMessage(`connectrpc.conformance.v1.${name}`) as DescMessage;

interface Order {
  useTls: boolean;
  clientTlsCert: Uint8Array;
  serverCreds?: { cert: Uint8Array; key: Uint8Array };
}

async function readOrder(): Promise<Order> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk]);
    const length = bytes.length < 4 ? Number.POSITIVE_INFINITY : bytes.readUInt32BE(0);
    if (bytes.length >= 4 + length) return fromBinary(desc("ServerCompatRequest"), bytes.subarray(4)) as never as Order;
  }
  throw new Error("The suite has given no order.");
}

const { useTls, clientTlsCert, serverCreds } = await readOrder();
const text = (bytes: Uint8Array = new Uint8Array()) => Buffer.from(bytes).toString();
const kernel = conformanceKernel(files);
const also = httpProtocols(createRpcListener(kernel, { alone: true }));
const tls = { key: () => text(serverCreds?.key), cert: () => text(serverCreds?.cert), ca: () => text(clientTlsCert) };
const secure = useTls ? { tls } : {};
const server = await serveFrames(kernel, { address: `${useTls ? "tls" : "tcp"}://127.0.0.1:0`, also, ...secure });
const port = Number(server.address.split(":").at(-1));
const pemCert = useTls ? serverCreds?.cert : undefined;
const answer = create(desc("ServerCompatResponse"), {
  host: "127.0.0.1",
  port,
  ...(pemCert ? { pemCert } : {}),
} as never);
const bytes = toBinary(desc("ServerCompatResponse"), answer);
const head = Buffer.alloc(4);
head.writeUInt32BE(bytes.length);
process.stdout.write(Buffer.concat([head, bytes]));
process.on("SIGTERM", () => process.exit());
