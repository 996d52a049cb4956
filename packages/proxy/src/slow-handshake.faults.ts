import { once } from "node:events";
import { request } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { testAuthority } from "@hms/testkit";
import { afterEach, expect, test } from "vitest";
import { ProxyFixture } from "./proxy-fixture.ts";

const LIMIT_MS = 1500;
const CLIENTS = 300;
const authority = testAuthority();
let fixture: ProxyFixture;
afterEach(() => fixture.close());

/** What a client begins a handshake with: a record of 512 bytes, of which most never comes. */
const BEGINNING = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);

test("clients that are slow to agree on keys, silent or a byte at a time, are let go in time, and cost others nothing", async () => {
  fixture = new ProxyFixture({ handshakeTimeoutMs: LIMIT_MS });
  const service = await fixture.service((_, response) => response.end("served"));
  fixture.apply({ endpoints: [{ port: service }] });
  const { server } = fixture.engine.createSecureServer(fixture.engine.gatewayHandler, {
    certificates: [authority.issue("DNS:gateway.test")],
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  const lives: number[] = [];
  const ends: Promise<unknown>[] = [];
  const slow = Array.from({ length: CLIENTS }, (_, n) => {
    const socket: Socket = connect(port, "127.0.0.1");
    fixture.onClose(() => socket.destroy());
    socket.on("error", () => {});
    ends.push(
      once(socket, "connect").then(async () => {
        const began = performance.now();
        socket.resume();
        // A third says nothing, a third a byte every tenth of a second, a third all but the last byte.
        let sent = 0;
        const trickle = setInterval(() => {
          if (n % 3 === 1) socket.write(BEGINNING.subarray(sent, sent + 1));
          sent += 1;
        }, 100);
        if (n % 3 === 2) socket.write(BEGINNING);
        await once(socket, "close");
        clearInterval(trickle);
        lives.push(performance.now() - began);
      }),
    );
    return socket;
  });
  await Promise.all(slow.map((socket) => socket.readyState === "open" || once(socket, "connect")));

  // Meanwhile others agree on keys and are answered, each on a connection of its own.
  let served = 0;
  while (lives.length === 0) {
    const asking = request({ port, host: "127.0.0.1", servername: "gateway.test", ca: authority.ca, agent: false });
    const [response] = await once(asking.end(), "response");
    expect(response.statusCode).toBe(200);
    response.resume();
    served += 1;
  }
  await Promise.all(ends);
  expect(served).toBeGreaterThan(20);
  expect(lives).toHaveLength(CLIENTS);
  expect(Math.min(...lives)).toBeGreaterThan(LIMIT_MS * 0.5);
  expect(Math.max(...lives)).toBeLessThan(LIMIT_MS + 5000);
  expect(await new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)))).toBeLessThan(5);
}, 30_000);
