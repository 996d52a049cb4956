import { readFileSync } from "node:fs";
import type { DescMethod } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import type { HmsError, MethodEntry, Policy, Principal } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { createTicketIdentity, createTicketPolicy, mintTicket, RevocationList } from "./index.ts";

interface Vector {
  name: string;
  ticket: string;
  now: number;
  expect: "valid" | "TICKET_INVALID" | "TICKET_EXPIRED" | "TICKET_REVOKED";
  id?: string;
  principal?: Principal;
  calls?: { package: string; method: string; expect: string }[];
  revocations?: { principal: string; service_id: string; issued_before: number }[];
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../sdks/conformance/tickets.json", import.meta.url), "utf8"),
) as {
  key: string;
  audience: string;
  tickets: Vector[];
};
const key = Buffer.from(vectors.key, "hex");
const keys = new Map([[vectors.audience, key]]);
const { METADATA, NONE, REQUEST } = ffiOptions.AuditLevel;
const words = new Map<ffiOptions.AuditLevel | undefined, string>([
  [NONE, "none"],
  [METADATA, "metadata"],
  [REQUEST, "request"],
]);

function entry(name: string, packageName: string): MethodEntry {
  const [service, method] = name.split("/");
  const parent = { name: service, typeName: `${packageName}.${service}`, file: { proto: { package: packageName } } };
  return { desc: { name: method, parent } as unknown as DescMethod } as MethodEntry;
}

function decide(policy: Policy, principal: Principal, method: MethodEntry): string {
  const decision = policy.decide({ principal, permission: "", resource: "", method });
  if (decision instanceof Promise) return expect.unreachable();
  if (!decision.allowed) return "PERMISSION_DENIED";
  return words.get(decision.auditLevel) ?? "";
}

describe.each(vectors.tickets)("$name", (vector) => {
  const revocations = new RevocationList(() => vector.now * 1000);
  for (const { principal, service_id: serviceId, issued_before: issuedBeforeS } of vector.revocations ?? []) {
    revocations.add({ principal, serviceId, issuedBeforeS });
  }
  const identity = createTicketIdentity({ keys, revocations, now: () => vector.now * 1000 });
  const credentials = { transport: "socket", ticket: vector.ticket } as const;

  test(`is ${vector.expect}, the first time and again`, () => {
    for (const _ of [1, 2]) {
      if (vector.expect === "valid") {
        expect(identity.authenticate(credentials)).toEqual(vector.principal);
      } else {
        const details = { reason: vector.expect };
        expect(() => identity.authenticate(credentials)).toThrow(
          expect.objectContaining({ code: "UNAUTHENTICATED", details }),
        );
      }
    }
  });

  test.each(vector.calls ?? [])("$package.$method: $expect", (call) => {
    const principal = identity.authenticate(credentials) as Principal;
    const policy = createTicketPolicy();
    expect(decide(policy, principal, entry(call.method, call.package))).toBe(call.expect);
  });
});

const [environment, serviceId, version, instanceId] = vectors.audience.split("/") as [string, string, string, string];
const instance = { environment, serviceId, version, instanceId };

function claims(init: { id?: string; issuedAt?: number; methods?: [string, ffiOptions.AuditLevel][] } = {}) {
  const { id = "t-9", issuedAt = 1000, methods = [["DebateService/CreateDebate", METADATA]] } = init;
  const principal: Principal = { kind: "user", id: "anna", roles: ["doctor"], mfa: true, environment: "default" };
  return { id, audience: vectors.audience, principal, issuedAt, expiresAt: issuedAt + 60, methods: new Map(methods) };
}

describe("a minted ticket", () => {
  test("is let in as the principal it was minted for", () => {
    const identity = createTicketIdentity({ keys, now: () => 1_000_500 });
    const minted = claims();
    const principal = identity.authenticate({ transport: "socket", ticket: mintTicket(minted, key) });
    expect(principal).toEqual(minted.principal);
    expect(Object.isFrozen(principal)).toBe(true);
    expect(instance.serviceId).toBe("hms.cdf.debate");
  });

  test("is refused where it would live too long or be too large", () => {
    expect(() => mintTicket({ ...claims(), expiresAt: 1061 }, key)).toThrow(/60 s at most/);
    const methods = Array.from({ length: 200 }, (_, i) => [`DebateService/MethodNumber${i}`, METADATA] as const);
    expect(() => mintTicket({ ...claims(), methods: new Map(methods) }, key)).toThrow(
      expect.objectContaining({ code: "RESOURCE_EXHAUSTED", details: { reason: "TICKET_TOO_LARGE" } }),
    );
    expect(() => mintTicket(claims(), key.subarray(1))).toThrow(/32 bytes/);
  });
});

describe("a connection's ticket", () => {
  function connection() {
    const clock = { ms: 1_000_500 };
    const revocations = new RevocationList(() => clock.ms);
    const identity = createTicketIdentity({ keys, revocations, now: () => clock.ms });
    const credentials = { transport: "socket", ticket: mintTicket(claims(), key) } as const;
    return { clock, revocations, call: () => identity.authenticate(credentials) as Principal };
  }
  const refused = (reason: string) => expect.objectContaining({ code: "UNAUTHENTICATED", details: { reason } });

  test("is verified once and checked at each call", () => {
    const { clock, call } = connection();
    expect(call()).toBe(call());
    clock.ms = 1_060_000;
    expect(call).toThrow(refused("TICKET_EXPIRED"));
  });

  test("that is revoked between two calls is refused at the next, and others go on", () => {
    const { revocations, call } = connection();
    call();
    revocations.add({ principal: "user:ben", serviceId: "", issuedBeforeS: 1001 });
    call();
    revocations.add({ principal: "user:anna", serviceId: "hms.cdf.debate", issuedBeforeS: 1001 });
    expect(call).toThrow(refused("TICKET_REVOKED"));
    expect(call).toThrow(refused("TICKET_REVOKED"));
  });

  test("too many revocations revoke everything rather than nothing", () => {
    const { revocations, call } = connection();
    for (let i = 0; i <= 1000; i++) {
      revocations.add({ principal: `user:nobody-${i}`, serviceId: "", issuedBeforeS: 1001 });
    }
    expect(call).toThrow(refused("TICKET_REVOKED"));
  });

  test("revocations are kept for 120 s", () => {
    const clock = { ms: 0 };
    const revocations = new RevocationList(() => clock.ms);
    revocations.add({ principal: "", serviceId: "", issuedBeforeS: 1 });
    clock.ms = 119_999;
    revocations.add({ principal: "user:ben", serviceId: "", issuedBeforeS: 1 });
    expect(revocations.revokes("user:anna", "hms.cdf.debate", 0)).toBe(true);
    clock.ms = 120_001;
    revocations.add({ principal: "user:ben", serviceId: "", issuedBeforeS: 1 });
    expect(revocations.revokes("user:anna", "hms.cdf.debate", 0)).toBe(false);
  });
});

test("without a ticket nobody is known, and nothing is allowed", () => {
  const identity = createTicketIdentity({ keys });
  const principal = identity.authenticate({ transport: "socket" }) as Principal;
  expect(principal.kind).toBe("anonymous");
  const policy = createTicketPolicy();
  const operator: Principal = { kind: "operator", id: "operator" };
  for (const each of [principal, operator]) {
    expect(decide(policy, each, entry("DebateService/GetDebate", "hms.cdf.debate.v1"))).toBe("PERMISSION_DENIED");
  }
});

test("no ticket with one character changed, removed or added is let in", () => {
  const ticket = mintTicket(claims(), key);
  const identity = createTicketIdentity({ keys, now: () => 1_000_500 });
  const admits = (text: string) => {
    try {
      return identity.authenticate({ transport: "socket", ticket: text }) !== undefined;
    } catch (error) {
      expect((error as HmsError).details.reason).toBe("TICKET_INVALID");
      return false;
    }
  };
  expect(admits(ticket)).toBe(true);
  const letters = "ABab09-_.=+/ \n\0ü";
  for (let at = 0; at < ticket.length; at++) {
    const letter = letters.charAt(at % letters.length);
    const others = [
      ticket.slice(0, at),
      ticket.slice(0, at) + ticket.slice(at + 1),
      `${ticket.slice(0, at)}${letter}${ticket.slice(at)}`,
      ...(ticket[at] === letter ? [] : [`${ticket.slice(0, at)}${letter}${ticket.slice(at + 1)}`]),
    ];
    for (const other of others) expect(admits(other), JSON.stringify(other)).toBe(false);
  }
});

test("random payloads under a right signature are read or refused, never anything else", async () => {
  const { createHmac } = await import("node:crypto");
  const seeds = ['{"id":', '"aud"', "null", "[", "}", '{"sub":"user:a"}', "1e999", '"\\ud800"', "iat", ":", ",", "{}"];
  const identity = createTicketIdentity({ keys, now: () => 1_000_500 });
  let state = 42;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state % below;
  };
  for (let round = 0; round < 2000; round++) {
    const text = Array.from({ length: random(8) }, () => seeds[random(seeds.length)]).join("");
    const signed = `hms1.${Buffer.from(text).toString("base64url")}`;
    const ticket = `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
    expect(() => identity.authenticate({ transport: "socket", ticket })).toThrow(
      expect.objectContaining({ code: "UNAUTHENTICATED" }),
    );
  }
});

test("what is a JSON Web Token, or signed by no key, by another or in another form, is no ticket", async () => {
  const { createHmac } = await import("node:crypto");
  const identity = createTicketIdentity({ keys, now: () => 1_000_500 });
  const [form = "", payload = "", signature = ""] = mintTicket(claims(), key).split(".");
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const mac = (text: string, by: string | Buffer) => createHmac("sha256", by).update(text).digest("base64url");
  const jwt = (header: object, by?: Buffer) => {
    const text = `${encode(header)}.${payload}`;
    return `${text}.${by === undefined ? "" : mac(text, by)}`;
  };
  const raw = Buffer.from(signature, "base64url");
  for (const ticket of [
    jwt({ alg: "none" }),
    jwt({ alg: "HS256", typ: "JWT" }, key),
    jwt({ alg: "HS256", jwk: { kty: "oct", k: "" } }, Buffer.alloc(0)),
    `${form}.${payload}.`,
    `${form}.${payload}`,
    `${form}.${payload}.${mac(`${form}.${payload}`, Buffer.alloc(32))}`,
    `${form}.${payload}.${mac(payload, key)}`,
    `${form}.${payload}.${raw.toString("hex")}`,
    `${form}.${payload}.${raw.toString("base64")}`,
    `${form}.${payload}.${raw.subarray(0, 16).toString("base64url")}`,
    `${form.toUpperCase()}.${payload}.${signature}`,
    `hms2.${payload}.${mac(`hms2.${payload}`, key)}`,
    `${form}.${payload}.${signature}.${signature}`,
    `Bearer ${form}.${payload}.${signature}`,
  ]) {
    expect(() => identity.authenticate({ transport: "socket", ticket }), ticket).toThrow(
      expect.objectContaining({ code: "UNAUTHENTICATED" }),
    );
  }
});
