import { anonymous, type Credentials, componentPrincipal, type Principal } from "@hms/kernel";
import { expect, test } from "vitest";
import { createPartIdentity } from "./part-identity.ts";
import { PartTickets } from "./part-tickets.ts";

const key = Buffer.alloc(32, 7);
const START_MS = 1_800_000_000_000;

function scene({ part = "registry", own = key }: { part?: "registry" | "mesh"; own?: Uint8Array } = {}) {
  const clock = { nowMs: START_MS };
  const now = () => clock.nowMs;
  const tickets = new PartTickets(own, part, now);
  const identity = createPartIdentity({ key, parts: ["registry"], installation: "main", now });
  const admit = async (credentials: Partial<Credentials>) =>
    identity.authenticate({ transport: "socket", ...credentials });
  return { clock, tickets, admit };
}

const refused = (reason: string) => ({ code: "UNAUTHENTICATED", details: { reason } });
const anna: Principal = {
  kind: "user",
  id: "anna",
  roles: ["doctor", "on call"],
  mfa: true,
  environment: "prod",
  scopes: ["services:read"],
  endsAtMs: START_MS + 3_600_500,
};

test("a principal arrives with all that it is", async () => {
  const { tickets, admit } = scene();
  expect(await admit({ ticket: tickets.of(anna) })).toEqual(anna);
  const operator: Principal = { kind: "operator", id: "operator" };
  expect(await admit({ ticket: tickets.of(operator) })).toEqual({ ...operator, roles: [], mfa: false });
  expect(await admit({ ticket: tickets.of(componentPrincipal("hms.sys.deployment")) })).toMatchObject({
    kind: "component",
    id: "hms.sys.deployment",
  });
  expect(tickets.of(anonymous)).toBeUndefined();
  expect(await admit({})).toBe(anonymous);
});

test("a ticket is shown again for a while, is good for a minute, and ends with the session", async () => {
  const { clock, tickets, admit } = scene();
  const first = tickets.of(anna);
  clock.nowMs += 29_000;
  expect(tickets.of(anna)).toBe(first);
  clock.nowMs += 2_000;
  expect(tickets.of(anna)).not.toBe(first);
  await admit({ ticket: first });
  clock.nowMs += 30_000;
  await expect(admit({ ticket: first })).rejects.toMatchObject(refused("TICKET_EXPIRED"));
  clock.nowMs = Number(anna.endsAtMs) - 5_000;
  const last = tickets.of(anna);
  await admit({ ticket: last });
  clock.nowMs = Number(anna.endsAtMs);
  await expect(admit({ ticket: last })).rejects.toMatchObject(refused("TICKET_EXPIRED"));
  expect(() => tickets.of(anna)).toThrow("The session of user:anna has ended.");
});

test("a ticket under another key, or for another part, is worth nothing", async () => {
  for (const other of [scene({ own: Buffer.alloc(32, 8) }), scene({ part: "mesh" })]) {
    const ticket = other.tickets.of(anna);
    await expect(other.admit({ ticket })).rejects.toMatchObject(refused("TICKET_INVALID"));
  }
});

test("a token stands for nobody, and over the network only parts of the installation are heard", async () => {
  const { tickets, admit } = scene();
  const ticket = tickets.of(anna);
  expect(await admit({ token: "operator's" })).toBe(anonymous);
  const network = { transport: "network", ticket } as const;
  for (const peer of [undefined, "spiffe://main/env/default/svc/a", "spiffe://other/part/server"]) {
    await expect(admit({ ...network, peer })).rejects.toMatchObject(refused("NOT_A_PART"));
  }
  expect(await admit({ ...network, peer: "spiffe://main/part/server" })).toEqual(anna);
});
