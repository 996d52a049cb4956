import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { probe } from "./server-probe.ts";
import { RpcStage, texts } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());

/** An empty SETTINGS frame, and one that acknowledges the client's (RFC 9113, section 6.5). */
const SETTINGS = Buffer.from("000000040000000000" + "000000040100000000", "hex");
/** GOAWAY without an error that lets running calls finish (RFC 9113, section 6.8). */
const GOAWAY = Buffer.from("000008070000000000" + "7fffffff" + "00000000", "hex");
/** RST_STREAM of stream 1 without an error (RFC 9113, section 6.4). */
const RESET = Buffer.from("000004030000000001" + "00000000", "hex");
/** The response headers ":status: 200" and "content-type: application/grpc" for stream 1; more is to follow. */
const BEGUN = Buffer.concat([
  Buffer.from("000013010400000001" + "88" + "5f10", "hex"),
  Buffer.from("application/grpc"),
]);

const HEADERS_TYPE = 1;

/** Whether a HEADERS frame is among what a client has sent after its preface. */
function hasCall(sent: Buffer): boolean {
  for (let at = 24; at + 9 <= sent.length; at += 9 + sent.readUIntBE(at, 3)) {
    if (sent[at + 3] === HEADERS_TYPE) return true;
  }
  return false;
}

/** A server that says goodbye to whoever calls and ends the connection in the same breath. */
async function startLeavingServer(lastWords: Buffer): Promise<string> {
  const server = createServer((socket) => {
    let sent = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.write(SETTINGS);
    socket.on("data", (chunk) => {
      sent = Buffer.concat([sent, chunk]);
      if (hasCall(sent)) socket.end(lastWords);
    });
  });
  return listening(server);
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.defer(() => new Promise((resolve) => server.close(resolve)));
  return `grpc://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("a server that goes away without an answer", () => {
  test.each([
    ["having said goodbye", GOAWAY],
    ["having said goodbye and ended its call", Buffer.concat([GOAWAY, RESET])],
    ["having begun its answer and said goodbye", Buffer.concat([BEGUN, GOAWAY])],
    ["having begun its answer and ended its call", Buffer.concat([BEGUN, RESET])],
    ["without a word", Buffer.alloc(0)],
  ])("%s, leaves no call waiting", async (_, lastWords) => {
    const address = await startLeavingServer(lastWords);
    const lost = { code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } };
    await expect(stage.connect({ address }).client.unary({})).rejects.toMatchObject(lost);
    await expect(texts(stage.connect({ address }).client.serverStream({}))).rejects.toMatchObject(lost);
  });
});

test.each([
  ["HTTP/1.1", () => createHttpServer((_, response) => response.end("fine"))],
  [
    "nothing that is known",
    () =>
      createServer((socket) =>
        socket
          .on("error", () => {})
          .resume()
          .end("220 ready\r\n"),
      ),
  ],
])("a server that speaks %s ends its calls, counts as gone, and does this side no harm", async (_, make) => {
  const address = await listening(make() as Server);
  for (let call = 0; call < 3; call += 1) {
    const { client, transport } = stage.connect({ address });
    await expect(client.unary({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await probe(transport)).toMatchObject({ alive: false });
    await transport.close();
  }
});
