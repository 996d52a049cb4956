import { once } from "node:events";
import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProxyFixture, until } from "./proxy-fixture.ts";

const MEGABYTE = 1024 * 1024;
const SIZE_MB = 200;

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture();
});
afterEach(() => fixture.close());

/** Notes the largest memory use between its start and `stop`, in megabytes above the start. */
function memoryWatch() {
  const before = process.memoryUsage.rss();
  let highest = before;
  const timer = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage.rss());
  }, 10);
  return {
    stop() {
      clearInterval(timer);
      return (highest - before) / MEGABYTE;
    },
  };
}

describe("bodies", () => {
  it("of 200 MB come down with flat memory, as fast as the client reads", async () => {
    const chunk = Buffer.alloc(MEGABYTE, "x");
    let written = 0;
    const service = await fixture.service(async (_, response) => {
      for (; written < SIZE_MB; written++) if (!response.write(chunk)) await once(response, "drain");
      response.end();
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const watch = memoryWatch();
    const call = request({ port, host: "127.0.0.1" }).end();
    const [response] = await once(call, "response");
    let received = 0;
    let isFirst = true;
    for await (const part of response) {
      if (isFirst) {
        // The client reads nothing for a while: the service has to stop writing.
        let last = -1;
        await until(() => {
          const stands = written === last;
          last = written;
          return stands && written > 0;
        });
        expect(written).toBeLessThan(50);
        isFirst = false;
      }
      received += part.length;
    }
    expect(received).toBe(SIZE_MB * MEGABYTE);
    expect(watch.stop()).toBeLessThan(120);
  });

  it.each(["content-length", "transfer-encoding"])("of 200 MB go up with flat memory (%s)", async (framing) => {
    let received = 0;
    let isOpen = false;
    const service = await fixture.service(async (incoming, response) => {
      await until(() => isOpen);
      for await (const part of incoming) received += part.length;
      response.end(String(received));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const watch = memoryWatch();
    const value = framing === "content-length" ? SIZE_MB * MEGABYTE : "chunked";
    const call = request({ port, host: "127.0.0.1", method: "PUT", headers: { [framing]: value } });
    const chunk = Buffer.alloc(MEGABYTE, "x");
    let sent = 0;
    const sending = (async () => {
      for (; sent < SIZE_MB; sent++) if (!call.write(chunk)) await once(call, "drain");
      call.end();
    })();
    let last = -1;
    await until(() => {
      const stands = sent === last;
      last = sent;
      return stands && sent > 0;
    });
    expect(sent).toBeLessThan(50);
    isOpen = true;
    const [response] = await once(call, "response");
    await sending;
    const answer = (await response.toArray()).join("");
    expect(answer).toBe(String(SIZE_MB * MEGABYTE));
    expect(watch.stop()).toBeLessThan(120);
  });

  it("pass part by part, without waiting for more", async () => {
    const service = await fixture.service((incoming, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      incoming.on("data", (part: Buffer) => response.write(`got ${part};`));
      incoming.on("end", () => response.end("end"));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", /got a;/);
    await client.exchange("2\r\nbc\r\n", /got bc;/);
    await client.exchange("0\r\n\r\n", /end\r\n0\r\n\r\n$/);
  });
});

describe("someone who goes away", () => {
  it("ends the other side's work: a client that of the service", async () => {
    let isCut = false;
    const service = await fixture.service((incoming, response) => {
      incoming.socket.on("close", () => {
        isCut = true;
      });
      response.write("begin");
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    await client.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", /begin/);
    expect(fixture.engine.inFlight("a")).toBe(1);
    client.socket.destroy();
    await until(() => isCut);
    expect(fixture.engine.inFlight("a")).toBe(0);
  });

  it("ends the other side's work: a client in the middle of its upload", async () => {
    let isCut = false;
    const service = await fixture.service((incoming) => {
      incoming.on("error", () => {
        isCut = true;
      });
      incoming.resume();
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    client.socket.write("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    await until(() => fixture.engine.inFlight("a") === 1);
    await until(() => /upstream_connections\{.*state="busy"\} 1/.test(fixture.engine.metrics()));
    client.socket.destroy();
    await until(() => isCut);
    expect(fixture.engine.inFlight("a")).toBe(0);
  });

  it("is told apart from an end: a cut service cuts the client's chunks", async () => {
    const service = await fixture.service((_, response) => {
      response.write("begin", () => setImmediate(() => response.destroy()));
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    client.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const received = await client.closed();
    expect(received).toContain("begin");
    expect(received).not.toContain("\r\n0\r\n");
  });

  it("does not keep an answer from a client that still uploads", async () => {
    const service = await fixture.service((_, response) => {
      response.writeHead(413, { connection: "close" }).end("too much");
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const client = await fixture.rawClient(await fixture.listen());
    const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    await client.exchange(head + "x".repeat(50_000), /HTTP\/1.1 413 [\s\S]*too much/);
    await client.exchange(`${"x".repeat(50_000)}GET /two HTTP/1.1\r\nHost: h\r\n\r\n`, /413 [\s\S]*413 /);
  });
});
