import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ProxyFixture, until } from "./proxy-fixture.ts";

// Requests of aws/http-desync-guardian (tests/*.yaml, Apache-2.0) that it calls severe, ambiguous or of bad characters.
const cases = JSON.parse(readFileSync(new URL("desync-cases.json", import.meta.url), "utf8")) as {
  name: string;
  tier: string;
  request: string;
}[];

const fixture = new ProxyFixture();
let port = 0;
let received = "";
beforeAll(async () => {
  const service = await fixture.rawService((socket) => {
    socket.on("data", (bytes) => {
      received += bytes.toString("latin1");
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  fixture.apply({ endpoints: [{ port: service }] });
  port = await fixture.listen();
});
afterAll(() => fixture.close());

it.each(cases.map((each) => [each.tier, each.name, each.request] as const))(
  "reaches no service: %s, %s",
  async (_, __, request) => {
    received = "";
    const client = await fixture.rawClient(port);
    const host = /^host\s*:/im.test(request) ? "" : "Host: h\r\n";
    const isLatin1 = /^[\0-\xff]*$/.test(request);
    client.socket.write(`${request}${host}\r\n`, isLatin1 ? "latin1" : "utf8");
    await until(() => /^HTTP\/1.1 \d+/.test(client.received) || received !== "");
    expect(client.received).toMatch(/^HTTP\/1.1 (?:400|501) /);
    expect(received).toBe("");
  },
);
