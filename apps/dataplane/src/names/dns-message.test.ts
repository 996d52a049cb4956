import * as dns from "dns-packet";
import { describe, expect, test } from "vitest";
import { readQuery, writeAnswer, writeFailure } from "./dns-message.ts";

const asked = (name: string, more: Partial<dns.Packet> = {}) =>
  dns.encode({ type: "query", id: 77, flags: dns.RECURSION_DESIRED, questions: [{ type: "A", name }], ...more });
function queryOf(packet: Buffer) {
  const read = readQuery(packet);
  if (!("query" in read)) throw new Error(`not a query: ${JSON.stringify(read)}`);
  return read.query;
}

describe("a query", () => {
  test("is read with its labels in lower case, its type, its class and its version of EDNS", () => {
    expect(queryOf(asked("Receipt-SVC.mesh"))).toMatchObject({
      id: 77,
      recursionDesired: true,
      labels: ["receipt-svc", "mesh"],
      type: 1,
      class: 1,
      edns: undefined,
    });
    const opt = { type: "OPT", name: ".", udpPayloadSize: 4096, flags: 0, ednsVersion: 0, options: [] };
    expect(queryOf(asked("a.mesh", { additionals: [opt as never] })).edns).toBe(0);
  });

  test.each([
    ["nothing", Buffer.alloc(0)],
    ["less than a header", Buffer.alloc(11)],
    ["an answer", dns.encode({ type: "response", id: 1, questions: [{ type: "A", name: "a.mesh" }] })],
  ])("%s deserves no answer", (_, packet) => {
    expect(readQuery(packet)).toEqual({ ignore: true });
  });

  test.each([
    ["no question", asked("a.mesh", { questions: [] }), 1],
    ["two questions", asked("a", { questions: [1, 2].map((n) => ({ type: "A" as const, name: `a${n}` })) }), 1],
    ["a name that ends too early", asked("receipt-svc.mesh").subarray(0, 20), 1],
    ["a question without its type", asked("a.mesh").subarray(0, -3), 1],
    ["a name that points at itself", Buffer.concat([asked("").subarray(0, 12), Buffer.from([192, 12, 0, 1, 0, 1])]), 1],
    ["a label of a length that does not exist", Buffer.concat([asked("").subarray(0, 12), Buffer.alloc(200, 65)]), 1],
    ["an update", asked("a.mesh", { flags: 5 << 11 }), 4],
  ])("with %s is answered with its mistake", (_, packet, code) => {
    expect(readQuery(packet)).toMatchObject({ id: 77, code });
  });

  test("with a name of more than 255 bytes is answered with its mistake", () => {
    const long = Array.from({ length: 5 }, () => "x".repeat(60)).join(".");
    expect(readQuery(asked(long))).toMatchObject({ code: 1 });
  });

  test("of 30 000 random or damaged packets never does anything worse than being refused", () => {
    const random = randomNumbers(12_345);
    for (let turn = 0; turn < 10_000; turn += 1) {
      const damaged = Buffer.from(asked("receipt-svc.mesh"));
      for (let n = 0; n < 3; n += 1) damaged[random(damaged.length)] = random(256);
      const noise = Buffer.from(Array.from({ length: random(64) }, () => random(256)));
      for (const packet of [damaged, damaged.subarray(0, random(damaged.length)), noise]) {
        const read = readQuery(packet);
        if ("query" in read) expect(() => dns.decode(writeAnswer(read.query, { code: 0 }))).not.toThrow();
      }
    }
  });
});

/** Numbers below a limit, the same ones in every run (a linear congruential generator). */
function randomNumbers(start: number): (limit: number) => number {
  let state = start;
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
}

describe("an answer", () => {
  test("repeats the question as it was asked and says the address", () => {
    const answer = dns.decode(
      writeAnswer(queryOf(asked("ReCeIpT.mesh")), { code: 0, address: { address: "127.88.1.7", ttl: 1 } }),
    );
    expect(answer).toMatchObject({
      id: 77,
      type: "response",
      rcode: "NOERROR",
      flag_aa: true,
      flag_rd: true,
      questions: [{ name: "ReCeIpT.mesh", type: "A" }],
      answers: [{ name: "ReCeIpT.mesh", type: "A", ttl: 1, data: "127.88.1.7" }],
    });
  });

  test("about nothing names the zone, with one second to remember it", () => {
    const answer = dns.decode(writeAnswer(queryOf(asked("x.mesh")), { code: 3, soa: "authority" }));
    expect(answer).toMatchObject({
      rcode: "NXDOMAIN",
      answers: [],
      authorities: [{ type: "SOA", name: "mesh", ttl: 1, data: { mname: "mesh", minimum: 1 } }],
    });
  });

  test("speaks EDNS to those who do, and refuses versions that do not exist", () => {
    const opt = { type: "OPT", name: ".", udpPayloadSize: 4096, flags: 0, ednsVersion: 1, options: [] };
    const query = queryOf(asked("a.mesh", { additionals: [opt as never] }));
    expect(query.edns).toBe(1);
    const answer = dns.decode(writeAnswer(query, { code: 16 }));
    expect(answer).toMatchObject({ rcode: "NOERROR", additionals: [{ type: "OPT", extendedRcode: 1 }] });
  });

  test("to what cannot be read is a header alone", () => {
    expect(dns.decode(writeFailure(9, 1))).toMatchObject({ id: 9, type: "response", rcode: "FORMERR", questions: [] });
  });
});
