import { createSocket } from "node:dgram";
import { rmSync, writeFileSync } from "node:fs";
import { tempFolder, waitFor } from "@hms/testkit";
import * as dns from "dns-packet";
import { expect, test } from "vitest";
import { startResolver } from "../../test/support/dns-client.ts";
import { DnsForwarder } from "./dns-forwarder.ts";
import { HostResolvers } from "./host-resolvers.ts";

const query = dns.encode({ type: "query", id: 7, questions: [{ type: "A", name: "example.org" }] });
const addressIn = (answer: Buffer | undefined) => answer && dns.decode(answer).answers?.[0];

test("a resolver that does not answer is passed over, and from then on asked last", async () => {
  await using good = await startResolver("127.0.0.1", "192.0.2.1", 0);
  const silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(good.port, "127.0.0.2", resolve));
  let asked = 0;
  silent.on("message", () => {
    asked += 1;
  });
  const forwarder = new DnsForwarder(() => ["127.0.0.2", "127.0.0.1"], good.port);
  expect(addressIn(await forwarder.ask(query, "udp"))).toMatchObject({ data: "192.0.2.1" });
  expect(addressIn(await forwarder.ask(query, "udp"))).toMatchObject({ data: "192.0.2.1" });
  expect(asked).toBe(1);
  silent.close();
});

test("an answer to something else is not taken for the answer", async () => {
  const forger = createSocket("udp4", (packet, from) => {
    const wrong = Buffer.from(packet);
    wrong.writeUInt16BE(8, 0);
    for (const answer of [Buffer.alloc(3), packet, wrong]) forger.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => forger.bind(0, "127.0.0.1", resolve));
  const forwarder = new DnsForwarder(() => ["127.0.0.1"], forger.address().port);
  expect(await forwarder.ask(query, "udp")).toBeUndefined();
  forger.close();
});

test("more than two hundred queries at once are not let through", async () => {
  const silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
  const forwarder = new DnsForwarder(() => ["127.0.0.1"], silent.address().port);
  const waiting = Array.from({ length: 200 }, () => forwarder.ask(query, "udp"));
  const first = await Promise.race([forwarder.ask(query, "udp").then(() => "refused"), waiting[0]]);
  expect(first).toBe("refused");
  await Promise.all(waiting);
  silent.close();
});

test("the machine's resolvers are those of the file as it is now, without our own", async () => {
  using folder = tempFolder();
  const file = `${folder.path}/resolv.conf`;
  const resolvers = new HostResolvers((address) => address.startsWith("127.88."), file);
  expect(resolvers.list()).toEqual([]);
  writeFileSync(
    file,
    "# nameserver 9.9.9.9\nsearch x\nnameserver 127.88.0.53\n  nameserver 192.0.2.1\nnameserver ::1\n",
  );
  await waitFor(() => resolvers.list().length === 2, { describe: "the new file to be read" });
  expect(resolvers.list()).toEqual(["192.0.2.1", "::1"]);
  rmSync(file);
  await waitFor(() => resolvers.list().length === 0, { describe: "its absence to be noticed" });
});

test("a resolver that there is no way to is passed over at once", async () => {
  await using good = await startResolver("127.0.0.1", "192.0.2.1", 0);
  // No link, and no leave: on every machine, with IPv6 and without.
  const unreachable = ["fe80::1", "255.255.255.255"];
  const forwarder = new DnsForwarder(() => [...unreachable, "127.0.0.1"], good.port);
  const before = performance.now();
  expect(addressIn(await forwarder.ask(query, "udp"))).toMatchObject({ data: "192.0.2.1" });
  expect(performance.now() - before).toBeLessThan(2000);
  expect(await new DnsForwarder(() => unreachable, good.port).ask(query, "udp")).toBeUndefined();
});
