import type { LookupAddress } from "node:dns";
import { once } from "node:events";
import { connect, createServer, type LookupFunction } from "node:net";
import { describe, expect, test } from "vitest";
import { NOT_OUTGOING, narrowedLookup, OutgoingHosts, outgoingEntryProblem, refusedHost } from "./outgoing-hosts.ts";

const hosts = new OutgoingHosts(["hooks.example.org", "*.corp.example", "10.1.0.0/16", "203.0.113.7", "2001:db8::/32"]);
const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | undefined)?.code;

/** A name server that counts who it is asked for. */
function server(...addresses: string[]) {
  const asked: string[] = [];
  const lookup: LookupFunction = (name, _, done) => {
    asked.push(name);
    done(
      null,
      addresses.map((address): LookupAddress => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  return { asked, lookup: narrowedLookup(hosts, lookup) };
}
const ask = (lookup: LookupFunction, name: string, options: { all?: boolean } = {}) =>
  new Promise((resolve) => lookup(name, options, (error, found) => resolve(error ? error.code : found)));

describe("a list of hosts", () => {
  test.each([
    ["hooks.example.org", true],
    ["HOOKS.example.ORG.", true],
    ["example.org", false],
    ["x.hooks.example.org", false],
    ["hooks.example.org.evil.example", false],
    ["evilhooks.example.org", false],
    ["a.corp.example", true],
    ["a.b.corp.example", true],
    ["corp.example", false],
    ["notcorp.example", false],
    ["10.1.2.3", true],
    ["::ffff:10.1.2.3", true],
    ["10.2.0.1", false],
    ["203.0.113.7", true],
    ["203.0.113.8", false],
    ["[2001:db8::1]", true],
    ["2606:4700::1111", false],
    ["169.254.169.254", false],
    // Other ways to write 10.1.2.3, which only a resolver would read as an address.
    ["167838211", false],
    ["0x0a010203", false],
    ["10.66051", false],
    ["localhost", true],
    ["platform.localhost", true],
    ["127.0.0.1", true],
    ["[::1]", true],
    ["localhost.evil.example", false],
    ["", false],
  ])("decides about %s: %s", (host, isAllowed) => {
    expect(refusedHost(hosts, host)?.message ?? "allowed").toEqual(
      isAllowed ? "allowed" : expect.stringContaining("outgoing.json"),
    );
    expect(refusedHost(undefined, host)).toBeUndefined();
  });

  test("that is empty leaves this machine only", () => {
    const nothing = new OutgoingHosts([]);
    expect(codeOf(refusedHost(nothing, "example.org"))).toBe(NOT_OUTGOING);
    expect(refusedHost(nothing, "127.0.0.1")).toBeUndefined();
  });

  test.each([
    "",
    "*",
    "*.*",
    "a.*.example",
    "*example.org",
    "https://example.org",
    "example.org:443",
    "10.0.0.0/33",
    "::/129",
    "10.0.0/8",
    "10.1",
    "2852039166",
    "0xa9fea9fe",
    "a..b",
    "-a.example",
    "a b",
    "example.org/24",
    "Example.org",
    "x".repeat(254),
  ])("has no entry %j", (entry) => expect(outgoingEntryProblem(entry)).toContain("is no host"));

  test.each([
    "example.org",
    "*.example.org",
    "hooks",
    "a_b.example",
    "10.0.0.0/8",
    "10.0.0.1",
    "::1",
    "2001:db8::/32",
    "0.0.0.0/0",
    "xn--bcher-kva.example",
  ])("may have the entry %j", (entry) => expect(outgoingEntryProblem(entry)).toBeUndefined());
});

describe("a name that is connected to", () => {
  test("is not even asked for if it is not listed", async () => {
    const { asked, lookup } = server("203.0.113.7");
    expect(await ask(lookup, "secret-in-the-name.evil.example")).toBe(NOT_OUTGOING);
    expect(asked).toEqual([]);
  });

  test("leads to public addresses, and to no other that is not listed as a network too", async () => {
    expect(await ask(server("198.51.100.1").lookup, "hooks.example.org")).toBe("198.51.100.1");
    for (const inside of [
      "127.0.0.1",
      "10.2.0.1",
      "192.168.0.1",
      "::1",
      "fd00::1",
      "169.254.169.254",
      "::ffff:127.0.0.1",
      "64:ff9b::7f00:1",
    ]) {
      expect([inside, await ask(server(inside).lookup, "hooks.example.org")]).toEqual([inside, NOT_OUTGOING]);
    }
    expect(await ask(server("64:ff9b::c633:6401").lookup, "hooks.example.org")).toBe("64:ff9b::c633:6401");
    expect(await ask(server("10.1.9.9").lookup, "hooks.example.org")).toBe("10.1.9.9");
    const mixed = server("127.0.0.1", "198.51.100.1", "10.1.0.1").lookup;
    expect(await ask(mixed, "hooks.example.org", { all: true })).toEqual([
      { address: "198.51.100.1", family: 4 },
      { address: "10.1.0.1", family: 4 },
    ]);
    expect(await ask(server("127.0.0.1").lookup, "platform.localhost")).toBe("127.0.0.1");
  });

  test("that leads elsewhere the second time is not followed there: what was looked at is what is connected to", async () => {
    const own = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
    await once(own, "listening");
    const { port } = own.address() as { port: number };
    let times = 0;
    const rebinding: LookupFunction = (_, __, done) => {
      times += 1;
      done(null, [{ address: times === 1 ? "198.51.100.1" : "127.0.0.1", family: 4 }]);
    };
    const lookup = narrowedLookup(hosts, rebinding);
    expect(await ask(lookup, "hooks.example.org")).toBe("198.51.100.1");
    const socket = connect({ host: "hooks.example.org", port, lookup });
    const [error] = await once(socket, "error");
    expect([codeOf(error), times]).toEqual([NOT_OUTGOING, 2]);
    own.close();
  });
});
