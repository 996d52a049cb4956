import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { waitFor } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

/** A client that writes its bytes itself, and everything that came back. */
async function rawClient({
  port,
}: EdgeFixture): Promise<{ socket: Socket; received: () => string; closed: Promise<unknown> }> {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.setEncoding("latin1").on("data", (text) => (received += text));
  socket.on("error", () => {});
  await once(socket, "connect");
  return { socket, received: () => received, closed: once(socket, "close") };
}

const HEAD = `host: localhost\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\n`;
const post = (fixture: EdgeFixture, body: string, path = "/v1/hms.library/Everything") =>
  fixture.fetch(path, { method: "POST", body, headers: { "content-type": "application/json" } });

describe("bodies", () => {
  test("that are too large are 413, said before they have come or while they come", async () => {
    await using fixture = await edgeFixture({ edge: { maxBodyBytes: 1000 } });
    const body = JSON.stringify({ fString: "x".repeat(2000) });
    const stated = await post(fixture, body);
    expect([stated.status, await stated.json()]).toMatchObject([413, { error: { status: "RESOURCE_EXHAUSTED" } }]);
    const { socket, received, closed } = await rawClient(fixture);
    socket.write(`POST /v1/hms.library/Everything HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\n`);
    socket.write(`800\r\n${"x".repeat(2048)}\r\n`);
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 413 .*"BODY_TOO_LARGE"/s);
  });

  test("that take too much together are 429, and space comes back", async () => {
    await using fixture = await edgeFixture({ edge: { maxTotalBodyBytes: 10_000 } });
    const { socket } = await rawClient(fixture);
    socket.write(`POST /v1/hms.library/Everything HTTP/1.1\r\n${HEAD}content-length: 9000\r\n\r\n${"x".repeat(8000)}`);
    const body = JSON.stringify({ fString: "x".repeat(3000) });
    const status = async () => (await post(fixture, body)).status;
    await waitFor(async () => (await status()) === 429, { describe: "the limit" });
    socket.destroy();
    await waitFor(async () => (await status()) === 200, { describe: "space" });
  });

  test("of callers whom nobody knows are not read at all, large ones: they are refused first", async () => {
    await using fixture = await edgeFixture();
    const head = "host: localhost\r\nauthorization: Bearer wrong\r\ncontent-type: application/json\r\n";
    for (const [path, length] of [
      ["/v1/hms.library/Everything", "content-length: 3000000"],
      ["/v1/books:import", "transfer-encoding: chunked"],
    ]) {
      const { socket, received } = await rawClient(fixture);
      socket.write(`POST ${path} HTTP/1.1\r\n${head}${length}\r\n\r\n`);
      await waitFor(() => received().startsWith("HTTP/1.1 401 "), { describe: () => `the refusal, not ${received()}` });
      socket.destroy();
    }
    expect(fixture.events.map(({ outcome }) => outcome)).toEqual(["denied", "denied"]);
  });

  test("that do not come in time are 408", async () => {
    await using fixture = await edgeFixture({ edge: { bodyTimeoutMs: 100 } });
    const { socket, received, closed } = await rawClient(fixture);
    socket.write(`POST /v1/hms.library/Everything HTTP/1.1\r\n${HEAD}content-length: 10\r\n\r\n{`);
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 408 /);
  });

  test("as large as they may be are answered", async () => {
    await using fixture = await edgeFixture();
    const text = "ä".repeat(2_000_000);
    expect(await (await post(fixture, JSON.stringify({ fString: text }))).json()).toEqual({ fString: text });
  });
});

describe("JSON that nests", () => {
  const depth = 200_000;
  test.each([
    ["arrays where a value is", `{"value":${"[".repeat(depth)}${"]".repeat(depth)}}`],
    ["objects where a struct is", `{"struct":${'{"a":'.repeat(depth)}1${"}".repeat(depth)}}`],
    ["messages in messages", `${'{"child":'.repeat(depth)}{}${"}".repeat(depth)}`],
    ["lists of messages", `${'{"rKinds":['.repeat(depth)}${"]}".repeat(depth)}`],
    ["arrays where nothing is", `{"nothing":${"[".repeat(depth)}${"]".repeat(depth)}}`],
    ["arrays alone", "[".repeat(depth)],
  ])("%s is refused and does no harm", async (_what, body) => {
    await using fixture = await edgeFixture();
    const response = await post(fixture, body);
    expect(response.status).toBe(400);
    expect((await response.text()).length).toBeLessThan(100_000);
    expect((await fixture.fetch("/v1/books/x")).status).toBe(200);
  });

  test("less than a hundred messages deep is read", async () => {
    await using fixture = await edgeFixture();
    expect((await post(fixture, `${'{"child":'.repeat(90)}{}${"}".repeat(90)}`)).status).toBe(200);
  });
});

describe("heads", () => {
  test("that are too large are 431, in the shape of any error", async () => {
    await using fixture = await edgeFixture();
    const { socket, received, closed } = await rawClient(fixture);
    socket.write(`GET /v1/books/x HTTP/1.1\r\n${HEAD}${"x-a: bcdefghij\r\n".repeat(4000)}\r\n`);
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 431 .*\{"error":\{"code":431/s);
  });

  test("that do not come in time are 408", async () => {
    await using fixture = await edgeFixture({ server: { headTimeoutMs: 100 } });
    const { socket, received, closed } = await rawClient(fixture);
    socket.write("GET /v1/books/x HTTP/1.1\r\nhost: local");
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 408 /);
  });

  test.each([
    "GARBAGE\r\n\r\n",
    "GET /v1/books/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    "GET /v1/books/x HTTP/1.1\r\nhost: localhost\r\nx : y\r\n\r\n",
    "\u0016\u0003\u0001",
  ])("that cannot be read safely are 400: %j", async (text) => {
    await using fixture = await edgeFixture({ server: { headTimeoutMs: 500 } });
    const { socket, received, closed } = await rawClient(fixture);
    socket.end(text);
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 400 /);
  });

  test("with an expectation get to send their body", async () => {
    await using fixture = await edgeFixture();
    const { socket, received } = await rawClient(fixture);
    socket.write(
      `POST /v1/hms.library/Everything HTTP/1.1\r\n${HEAD}expect: 100-continue\r\ncontent-length: 2\r\n\r\n`,
    );
    await waitFor(() => received().includes("100 Continue"), { describe: received });
    socket.write("{}");
    await waitFor(() => received().includes("200 OK"), { describe: received });
    socket.destroy();
  });
});

test("paths with thousands of segments and queries with thousands of parameters are answered at once", async () => {
  await using fixture = await edgeFixture({ server: { maxHeadBytes: 64 * 1024 } });
  expect((await fixture.fetch(`/v1/archive${"/a".repeat(10_000)}`)).status).toBe(200);
  expect((await fixture.fetch(`/v1/x${"/a".repeat(10_000)}`)).status).toBe(404);
  expect((await fixture.fetch(`/v1/books?${"a=1&".repeat(5_000)}`)).status).toBe(400);
  expect((await fixture.fetch(`/v1/books?${"place.inside.".repeat(3000)}floor=1`)).status).toBe(400);
  expect((await fixture.fetch("/v1/books/x")).status).toBe(200);
});

test("five hundred clients that leave in the middle leave nothing behind", async () => {
  await using fixture = await edgeFixture();
  const clients = await Promise.all(Array.from({ length: 500 }, () => rawClient(fixture)));
  for (const { socket } of clients) {
    socket.write(`POST /v1/hms.library/Everything HTTP/1.1\r\n${HEAD}content-length: 10\r\n\r\n{`);
  }
  const open = () => new Promise<number>((resolve) => fixture.server.getConnections((_, count) => resolve(count)));
  await waitFor(async () => (await open()) >= 500, { describe: "all to be connected" });
  for (const { socket } of clients) socket.destroy();
  await waitFor(async () => (await open()) === 0, { describe: "all to have gone" });
  expect((await fixture.fetch("/v1/books/x")).status).toBe(200);
});
