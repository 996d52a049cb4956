import { execFile } from "node:child_process";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import type { CallContext } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

let edge: EdgeFixture;
let lastContext: CallContext | undefined;
let produced = 0;
beforeAll(async () => {
  edge = await edgeFixture({
    handlers: {
      async *chat(books: AsyncIterable<{ title: string }>, context: CallContext) {
        lastContext = context;
        produced = 0;
        for await (const { title } of books) {
          if (title !== "flood") yield { title: title.toUpperCase() };
          else
            for (;;) {
              context.throwIfEnded();
              produced += 1;
              yield { title: "x".repeat(10_000) };
            }
        }
      },
    },
    edge: { maxBodyBytes: 100_000 },
  });
});
afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
});

const lines = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("a stream of answers", () => {
  test("is lines of JSON unless something else is asked for", async () => {
    for (const accept of ["*/*", "application/x-ndjson", "application/x-ndjson, application/json;q=0.5"]) {
      const response = await edge.fetch("/v1/books:watch?count=3", { headers: { accept } });
      expect(response.headers.get("content-type")).toBe("application/x-ndjson");
      expect(lines(await response.text()).map(({ name }) => name)).toEqual(["books/1", "books/2", "books/3"]);
    }
  });

  test("is events for a page: id, event, retry, and an end", async () => {
    const response = await edge.fetch("/v1/books:watch?count=2", { headers: { accept: "text/event-stream" } });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(await response.text()).toBe(
      'retry: 3000\n\nid: 0\nevent: message\ndata: {"name":"books/1"}\n\n' +
        'id: 1\nevent: message\ndata: {"name":"books/2"}\n\nid: 2\nevent: end\ndata: {}\n\n',
    );
  });

  test("is one array for those who accept JSON only, also an empty one", async () => {
    const get = (path: string) => edge.fetch(path, { headers: { accept: "application/json" } });
    expect(await (await get("/v1/books:watch?count=2")).json()).toEqual([{ name: "books/1" }, { name: "books/2" }]);
    expect(await (await get("/v1/books:watch?count=-1")).json()).toEqual([]);
  });

  test.each([
    ["application/x-ndjson", /\n\{"error":\{"code":503[^\n]*"RetryInfo"?[^\n]*\}\n$/],
    ["text/event-stream", /id: 2\nevent: error\ndata: \{"error":\{"code":503.*\n\n$/],
    ["application/json", /,\n\{"error":\{"code":503.*\}\]\n$/],
  ])("that fails in the middle ends with the error as %s", async (accept, end) => {
    const response = await edge.fetch("/v1/books:watch?count=9&failAfter=2", { headers: { accept } });
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(text.replaceAll("type.googleapis.com/google.rpc.", "")).toMatch(end);
  });

  test("that fails before its first message has the error's own status", async () => {
    const response = await edge.fetch("/v1/books:watch?count=bad");
    expect(response.status).toBe(400);
    expect((await edge.fetch("/v1/books:watch", { headers: { authorization: null } })).status).toBe(401);
    expect((await edge.fetch("/v1/books:watch?count=1", { headers: { accept: "image/png" } })).status).toBe(406);
  });

  test("is not to be had by HEAD", async () => {
    const response = await edge.fetch("/v1/books:watch", { method: "HEAD" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET"]);
  });

  test("begins before its first message if that takes long", async () => {
    const answered = await new Promise<number>((resolve, reject) => {
      const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/x-ndjson" };
      const sent = httpRequest({ port: edge.port, method: "POST", path: "/v1/hms.library/Chat", headers });
      sent.on("response", (response) => {
        resolve(response.statusCode ?? 0);
        sent.destroy();
      });
      sent.on("error", reject);
      sent.flushHeaders();
    });
    expect(answered).toBe(200);
  });
});

test("a stream that only reads ends when the server stops, and says so", async () => {
  await using own = await edgeFixture({
    handlers: {
      async *watchBooks(_: unknown, { signal }: CallContext) {
        yield { title: "first" };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const response = await own.fetch("/v1/books:watch");
  own.edge.drain();
  expect(lines(await response.text())).toMatchObject([{ title: "first" }, { error: { status: "UNAVAILABLE" } }]);
});

describe("a stream of requests", () => {
  const post = (path: string, body: string, type = "application/x-ndjson") =>
    edge.fetch(path, { method: "POST", body, headers: { "content-type": type }, duplex: "half" } as never);

  test("is lines of JSON, or JSON with one message or an array of them", async () => {
    const sent = '{"title":"a"}\n\n{"title":"b"}\r\n{"title":"c"}';
    expect(await (await post("/v1/books:import", sent)).json()).toEqual({ count: "3", note: "a,b,c" });
    const array = JSON.stringify([{ title: "a" }, { title: "b" }]);
    expect(await (await post("/v1/books:import", array, "application/json")).json()).toMatchObject({ note: "a,b" });
    const single = '{\n"title": "a"\n}';
    expect(await (await post("/v1/books:import", single, "application/json")).json()).toMatchObject({ note: "a" });
  });

  test("fails as a request does if a line does not fit", async () => {
    const response = await post("/v1/books:import", '{"title":"a"}\n{"titel":"b"}\n');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("Did you mean");
  });

  test("is refused with 413 if one message is too large, and may be larger together", async () => {
    const line = `{"title":"${"x".repeat(60_000)}"}\n`;
    expect(await (await post("/v1/books:import", line.repeat(5))).json()).toMatchObject({ count: "5" });
    expect((await post("/v1/books:import", `{"title":"${"x".repeat(200_000)}"}`)).status).toBe(413);
  });

  test("is answered while it goes on", async () => {
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/x-ndjson" };
    const sent = httpRequest({ port: edge.port, method: "POST", path: "/v1/hms.library/Chat", headers });
    let received = "";
    sent.on("response", (response) => response.setEncoding("utf8").on("data", (text) => (received += text)));
    for (const word of ["one", "two"]) {
      sent.write(`{"title":"${word}"}\n`);
      await waitFor(() => received.includes(word.toUpperCase()), { describe: () => received });
    }
    sent.end();
    await once(sent, "close");
    expect(lines(received)).toEqual([{ title: "ONE" }, { title: "TWO" }]);
  });
});

describe("a client", () => {
  test("that takes nothing holds the handler back, and one that leaves ends it", async () => {
    const socket = connect(edge.port, "127.0.0.1");
    socket.on("error", () => {});
    const body = '{"title":"flood"}\n';
    socket.write(
      `POST /v1/hms.library/Chat HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${TOKEN}\r\n` +
        `content-type: application/x-ndjson\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    let before = -1;
    await waitFor(
      () => {
        const isStill = produced > 0 && produced === before;
        before = produced;
        return isStill;
      },
      { describe: () => `the handler to be held back; it has made ${produced}`, intervalMs: 200 },
    );
    expect(produced).toBeLessThan(2000);
    socket.destroy();
    await waitFor(() => lastContext?.signal.aborted === true, { describe: () => "the handler's signal" });
    expect(lastContext?.signal.reason).toMatchObject({ code: "CANCELLED" });
  });
});

describe("google.api.HttpBody", () => {
  test("is an answer as it is, which cannot act as a page of this origin", async () => {
    const response = await edge.fetch("/v1/shelves/1/books/2/cover");
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(response.headers.get("content-security-policy")).toBe("sandbox; frame-ancestors 'none'");
    expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from([137, 80, 78, 71]));
  });

  test("is a body as it is", async () => {
    const headers = { "content-type": "image/gif" };
    const response = await edge.fetch("/v1/shelves/1/books/2/cover", { method: "PUT", body: "GIF89a", headers });
    expect(await response.json()).toEqual({ count: "6", note: "shelves/1/books/2 image/gif" });
  });

  test("streams both ways, larger than any message may be", async () => {
    const headers = { "content-type": "video/webm" };
    const body = Buffer.alloc(3_000_000);
    const up = await edge.fetch("/v1/upload", { method: "POST", body, headers });
    expect(await up.json()).toEqual({ count: "3000000", note: "video/webm" });
    const down = await edge.fetch("/v1/shelves/1/books/2/text");
    expect([down.headers.get("content-type"), await down.text()]).toEqual(["text/plain", "once upon a time"]);
  });
});

test("curl streams lines and uploads files", async () => {
  const run = async (...args: string[]) =>
    (await promisify(execFile)("curl", ["-sS", "-H", `authorization: Bearer ${TOKEN}`, ...args])).stdout;
  const base = `http://localhost:${edge.port}`;
  expect(lines(await run(`${base}/v1/books:watch?count=2`))).toHaveLength(2);
  const file = import.meta.filename;
  const uploaded = JSON.parse(
    await run("-H", "content-type: text/x-ts", "--data-binary", `@${file}`, `${base}/v1/upload`),
  );
  expect(uploaded.note).toBe("text/x-ts");
});
