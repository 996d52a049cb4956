import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProxyFixture } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
let requests: string[];
let port: number;
beforeEach(async () => {
  fixture = new ProxyFixture();
  requests = [];
  const service = await fixture.rawService((socket) => {
    socket.on("data", (bytes) => {
      requests.push(bytes.toString("latin1"));
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  fixture.apply({ endpoints: [{ port: service }] });
  port = await fixture.listen();
});
afterEach(() => fixture.close());

const START = "POST / HTTP/1.1\r\nHost: h\r\n";

const REFUSED: [name: string, text: string, status?: number][] = [
  [
    "Content-Length beside Transfer-Encoding",
    `${START}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n`,
  ],
  ["two Content-Lengths", `${START}Content-Length: 1\r\nContent-Length: 5\r\n\r\nhello`],
  ["a list in Content-Length", `${START}Content-Length: 5, 5\r\n\r\nhello`],
  ["a signed Content-Length", `${START}Content-Length: +5\r\n\r\nhello`],
  ["a folded field", `${START}X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n`],
  ["a space before the colon", `${START}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
  ["a coding that is not chunked at the end", `${START}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
  ["another coding before chunked", `${START}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
  ["chunked twice", `${START}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["a bare line feed", "GET / HTTP/1.1\nHost: h\n\n"],
  ["a bare carriage return in a value", "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\rX-C: d\r\n\r\n"],
  ["a zero byte in a value", "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\u0000c\r\n\r\n"],
  ["no Host", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n"],
  ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
  ["a target with a space", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"],
  ["a version that does not exist", "GET / HTTP/1.9\r\nHost: h\r\n\r\n"],
  ["Transfer_Encoding", `${START}Transfer_Encoding: chunked\r\n\r\n`],
  ["Content_Length", `${START}Content_Length: 5\r\n\r\n`],
  ["X_Forwarded_For", "GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 10.0.0.1\r\n\r\n"],
  ["a body of GET", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"],
  ["HTTP/1.0 with chunks", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n"],
  ["a head without end", `GET / HTTP/1.1\r\nHost: h\r\nX-A: ${"b".repeat(40_000)}`, 431],
];

describe("a request that could be read in two ways", () => {
  it.each(REFUSED)("is refused and never reaches a service: %s", async (_, text, status = 400) => {
    const client = await fixture.rawClient(port);
    await client.exchange(text, /^HTTP\/1.1 \d+ [\s\S]*"request_id":"\w+"\}\}\n/);
    expect(client.received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(client.received.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    expect(requests).toEqual([]);
  });

  it.each([
    ["a size that is no number", "zz\r\nhello\r\n0\r\n\r\n"],
    ["data longer than its size", "3\r\nhello\r\n0\r\n\r\n"],
    ["a bare line feed", "5\nhello\n0\n\n"],
  ])("is cut when its chunks are broken: %s", async (_, chunks) => {
    const client = await fixture.rawClient(port);
    client.socket.write(`${START}Transfer-Encoding: chunked\r\n\r\n${chunks}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n`);
    await client.closed();
    expect(requests.join("")).not.toContain("smuggled");
  });

  it("has one framing of ours, whatever way its own was written", async () => {
    const client = await fixture.rawClient(port);
    await client.exchange(
      `${START}TRANSFER-encoding:   Chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n`,
      /ok$/,
    );
    const sent = requests.join("");
    expect(sent).toMatch(/\r\ntransfer-encoding: chunked\r\n/);
    expect(sent).toMatch(/\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/);
    expect(sent).not.toMatch(/content-length|x-trailer/i);
  });

  it("gets no line of its own into what we add", async () => {
    const client = await fixture.rawClient(port);
    await client.exchange(
      "GET http://h%0d%0aX-Evil:1/ HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\tb\r\n\r\n",
      /HTTP\/1.1 \d+/,
    );
    expect(requests.join("")).not.toMatch(/^X-Evil/im);
  });
});
