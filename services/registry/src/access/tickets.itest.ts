import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, FileDescriptorSetSchema, timestampDate } from "@bufbuild/protobuf/wkt";
import { type AccessRule, parsePolicies } from "@hms/authorization";
import { ffiOptions, type policy, registry } from "@hms/contracts";
import type { HmsError } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  accessHost,
  clearScene,
  debate,
  debateContract,
  debateSvc,
  doctor,
  methodsOf,
  openDatabase,
  openDebate,
  openRegistry,
  openRegistryHere,
  operator,
  refused,
  scene,
  workload,
} from "../testing/access-scene.ts";

const { SYNCED, REVOKED } = registry.WatchEventKind;
const { METADATA, REQUEST } = ffiOptions.AuditLevel;

afterEach(clearScene);
afterAll(() => accessHost[Symbol.asyncDispose]());

describe("a lookup", () => {
  test("answers a ticket for each instance with what policies let the caller call there", async () => {
    const opened = await openRegistry();
    const { admit, ticketKey } = await openDebate(opened);
    expect(ticketKey).toHaveLength(32);
    await opened.as(debateSvc).register({ ...debate, instanceId: "i-2" });
    const { policies } = opened;
    await policies.putPolicy({ policy: { service: "hms.cdf.*", method: "*Debate", allowedRoles: ["doctor"] } });
    await policies.putPolicy({ policy: { service: "hms.cdf.debate", method: "Delete*", deniedRoles: ["doctor"] } });
    await policies.putPolicy({ policy: { service: "*", method: "Create*", auditLevel: REQUEST } });
    const { tickets } = await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" });
    expect(tickets.map(({ instanceId }) => instanceId)).toEqual(["i-1", "i-2"]);
    const [first, second] = tickets;
    expect(methodsOf(first?.ticket)).toEqual({
      "DebateService/CreateDebate": "request",
      "DebateService/GetDebate": "metadata",
    });
    expect(admit(first?.ticket ?? "")).toMatchObject({ kind: "user", id: "anna", roles: ["doctor"], mfa: false });
    expect(() => admit(second?.ticket ?? "")).toThrow(expect.objectContaining(refused("UNAUTHENTICATED")));
    const lifeMs = timestampDate(first?.expiresAt ?? expect.unreachable()).getTime() - Date.now();
    expect(lifeMs).toBeGreaterThan(50_000);
    expect(lifeMs).toBeLessThanOrEqual(60_000);
  });

  test("answers no ticket to whom no policy allows anything, and every method to the operator", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    const { service, tickets } = await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" });
    expect(service?.instances).toHaveLength(1);
    expect(tickets).toEqual([]);
    const all = await opened.as(operator).lookup({ serviceId: "hms.cdf.debate" });
    expect(Object.keys(methodsOf(all.tickets[0]?.ticket))).toHaveLength(4);
  });

  test("leaves out of the ticket what demands a second factor, until the caller has shown one", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    const { policies } = opened;
    await policies.putPolicy({ policy: { service: "hms.cdf.debate", method: "*Debate", allowedRoles: ["doctor"] } });
    await policies.putPolicy({ policy: { service: "hms.cdf.debate", method: "Delete*", requiresMfa: true } });
    const allowed = async (mfa: boolean) => {
      const { tickets } = await opened.as({ ...doctor, mfa }).lookup({ serviceId: "hms.cdf.debate" });
      return Object.keys(methodsOf(tickets[0]?.ticket)).sort();
    };
    const others = ["DebateService/CreateDebate", "DebateService/GetDebate"];
    expect(await allowed(false)).toEqual(others);
    expect(await allowed(true)).toEqual([...others, "DebateService/DeleteDebate"].sort());
  });

  test("ends a ticket before a second factor is too old for what it names, and leaves that out afterwards", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    const { policies } = opened;
    await policies.putPolicy({ policy: { service: "hms.cdf.debate", method: "*Debate", allowedRoles: ["doctor"] } });
    const mfaMaxAge = durationFromMs(900_000);
    await policies.putPolicy({ policy: { service: "hms.cdf.debate", method: "Delete*", mfaMaxAge } });
    const lookup = async (ageMs: number | undefined) => {
      const factor = ageMs === undefined ? {} : { authenticatedAtMs: Date.now() - ageMs };
      const { tickets } = await opened.as({ ...doctor, mfa: true, ...factor }).lookup({ serviceId: "hms.cdf.debate" });
      const endsAt = timestampDate(tickets[0]?.expiresAt ?? expect.unreachable()).getTime();
      const canDelete = Object.hasOwn(methodsOf(tickets[0]?.ticket), "DebateService/DeleteDebate");
      return { canDelete, lifeMs: endsAt - Date.now(), ageAtEndMs: endsAt - Date.now() + (ageMs ?? 0) };
    };
    const young = await lookup(60_000);
    expect(young).toMatchObject({ canDelete: true, lifeMs: expect.toSatisfy((ms) => ms > 50_000) });
    const nearly = await lookup(870_000);
    expect(nearly.canDelete).toBe(true);
    expect(nearly.ageAtEndMs).toBeLessThanOrEqual(900_000);
    expect(nearly.lifeMs).toBeGreaterThan(15_000);
    for (const age of [901_000, undefined]) {
      expect(await lookup(age)).toMatchObject({ canDelete: false, lifeMs: expect.toSatisfy((ms) => ms > 50_000) });
    }
    // The same for one that nobody can read an age off: a policy in Cedar.
    const cedar =
      'forbid (principal, action == Action::"services:call", resource) unless { context has mfa_age && context.mfa_age < 800 };';
    await policies.putPolicy({ policy: { policyId: "c", cedar } });
    const cut = await lookup(780_000);
    expect(cut.canDelete).toBe(true);
    expect(cut.ageAtEndMs).toBeLessThanOrEqual(800_000);
    expect(cut.lifeMs).toBeGreaterThan(10_000);
  });

  test("answers no ticket to who lives in another environment", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    await opened.policies.putPolicy({ policy: { service: "hms.cdf.*", allowedRoles: ["*"] } });
    const ticketsOf = async (environment: string) =>
      (await opened.as(workload("other-svc", environment)).lookup({ serviceId: "hms.cdf.debate" })).tickets.length;
    expect([await ticketsOf("default"), await ticketsOf("staging")]).toEqual([1, 0]);
  });

  test("answers no ticket to a key that was not made for calls", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    await opened.policies.putPolicy({ policy: { service: "*", allowedRoles: ["doctor"] } });
    const ticketsOf = async (...scopes: string[]) =>
      (await opened.as({ ...doctor, scopes }).lookup({ serviceId: "hms.cdf.debate" })).tickets.length;
    expect(await ticketsOf("registry:read")).toBe(0);
    expect(await ticketsOf("registry:read", "services:call")).toBe(1);
    expect(await ticketsOf("registry:read", "services:*")).toBe(1);
  });

  test("answers no ticket that outlives the caller's session", async () => {
    const opened = await openRegistry();
    await openDebate(opened);
    await opened.policies.putPolicy({ policy: { service: "*", allowedRoles: ["doctor"] } });
    const endsIn = async (ms: number) => {
      const { tickets } = await opened
        .as({ ...doctor, endsAtMs: Date.now() + ms })
        .lookup({ serviceId: "hms.cdf.debate" });
      return tickets.map(({ expiresAt }) => timestampDate(expiresAt ?? expect.unreachable()).getTime() - Date.now());
    };
    expect((await endsIn(10_000))[0]).toBeLessThanOrEqual(10_000);
    // On the way to another process nobody speaks for who has signed out: the call itself is refused.
    const refusedOnTheWay = ({ details }: HmsError) => (details.reason === "SESSION_ENDED" ? [] : [details.reason]);
    expect(await endsIn(-1).catch(refusedOnTheWay)).toEqual([]);
  });

  test("answers a ticket for everything of a service without contract, if a policy allows all its methods", async () => {
    const opened = await openRegistry();
    await opened.as(debateSvc).register(debate);
    const lookup = async () => (await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" })).tickets;
    await opened.policies.putPolicy({
      policy: { service: "hms.cdf.debate", method: "Get*", allowedRoles: ["doctor"] },
    });
    expect(await lookup()).toEqual([]);
    const { policy: whole } = await opened.policies.putPolicy({
      policy: { service: "hms.cdf.debate", allowedRoles: ["doctor"], auditLevel: METADATA },
    });
    expect(whole?.method).toBe("*");
    expect(methodsOf((await lookup())[0]?.ticket)).toEqual({ "*": "metadata" });
    await opened.policies.putPolicy({ policy: { service: "hms.*", method: "Purge", deniedRoles: ["*"] } });
    expect(await lookup()).toEqual([]);
  });

  test("keeps to a ticket's size by naming whole services", async () => {
    const opened = await openRegistry();
    const set = fromBinary(FileDescriptorSetSchema, debateContract());
    const [file] = set.file;
    const template = file?.service[0]?.method[0] ?? expect.unreachable();
    file?.service[0]?.method.push(
      ...Array.from({ length: 300 }, (_, i) => ({ ...template, name: `ListDebatesOfYear${i}` })),
    );
    const fileDescriptorSet = toBinary(FileDescriptorSetSchema, set);
    await opened.as(debateSvc).register({ ...debate, fileDescriptorSet });
    const { tickets } = await opened.as(operator).lookup({ serviceId: "hms.cdf.debate" });
    expect(methodsOf(tickets[0]?.ticket)).toEqual({ "DebateService/*": "metadata", "AdminService/*": "metadata" });
  });

  test("an instance keeps its key from one renewal to the next", async () => {
    const opened = await openRegistry();
    const { ticketKey } = await openDebate(opened);
    expect((await opened.as(debateSvc).register(debate)).ticketKey).toEqual(ticketKey);
  });
});

describe("a change of policies", () => {
  test("that takes something away revokes tickets issued before, and those issued after are good at once", async () => {
    const opened = await openRegistry();
    const { admit, revocations } = await openDebate(opened);
    const { policy: rule } = await opened.policies.putPolicy({
      policy: { service: "hms.cdf.debate", allowedRoles: ["doctor"] },
    });
    const lookup = async () =>
      (await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" })).tickets[0]?.ticket ?? "";
    const before = await lookup();
    expect(admit(before)).toMatchObject({ id: "anna" });
    const call = new AbortController();
    scene.stack.defer(() => call.abort());
    const watch = opened
      .as(debateSvc)
      .watch({ pattern: "hms.cdf.debate" }, { signal: call.signal })
      [Symbol.asyncIterator]();
    while ((await watch.next()).value?.kind !== SYNCED);
    await opened.policies.putPolicy({ policy: { ...(rule as policy.AccessPolicy), deniedRoles: ["contractor"] } });
    const { value } = await watch.next();
    expect(value).toMatchObject({ kind: REVOKED, revocation: { principal: "", serviceId: "hms.cdf.debate" } });
    const issuedBefore = timestampDate(value?.revocation?.issuedBefore ?? expect.unreachable()).getTime() / 1000;
    revocations.add({ principal: "", serviceId: "hms.cdf.debate", issuedBeforeS: issuedBefore });
    expect(() => admit(before)).toThrow(expect.objectContaining(refused("UNAUTHENTICATED", "TICKET_REVOKED")));
    expect(admit(await lookup())).toMatchObject({ id: "anna" });
  });

  test("that gives more revokes nothing; a watch hears of revocations of its services only", async () => {
    // revokePrincipal is called by the server that the registry runs in.
    const opened = await openRegistryHere();
    await openDebate(opened);
    const call = new AbortController();
    scene.stack.defer(() => call.abort());
    const watch = opened.as(doctor).watch({ pattern: "hms.cdf.*" }, { signal: call.signal })[Symbol.asyncIterator]();
    while ((await watch.next()).value?.kind !== SYNCED);
    await opened.policies.putPolicy({ policy: { policyId: "a", service: "hms.cdf.debate", allowedRoles: ["doctor"] } });
    await opened.policies.putPolicy({ policy: { policyId: "b", service: "hms.emr.patient", deniedRoles: ["doctor"] } });
    opened.service.revokePrincipal("user:anna");
    expect((await watch.next()).value).toMatchObject({
      kind: REVOKED,
      revocation: { principal: "user:anna", serviceId: "" },
    });
  });

  test("revokes also what was issued after a revocation within the same second, however often", async () => {
    const opened = await openRegistryHere();
    const { admit, revocations } = await openDebate(opened);
    await opened.policies.putPolicy({ policy: { service: "hms.cdf.debate", allowedRoles: ["doctor"] } });
    const call = new AbortController();
    scene.stack.defer(() => call.abort());
    const watch = opened
      .as(debateSvc)
      .watch({ pattern: "hms.cdf.debate" }, { signal: call.signal })
      [Symbol.asyncIterator]();
    while ((await watch.next()).value?.kind !== SYNCED);
    const lookup = async () =>
      (await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" })).tickets.map(({ ticket }) => ticket);
    const withTicket: boolean[] = [];
    for (let i = 0; i < 8; i++) {
      const tickets = await lookup();
      withTicket.push(tickets.length > 0);
      for (const ticket of tickets) expect(admit(ticket)).toMatchObject({ id: "anna" });
      opened.service.revokePrincipal("user:anna");
      const { revocation } = (await watch.next()).value ?? {};
      const issuedBeforeS = timestampDate(revocation?.issuedBefore ?? expect.unreachable()).getTime() / 1000;
      revocations.add({ principal: "user:anna", serviceId: "", issuedBeforeS });
      for (const ticket of tickets) {
        expect(() => admit(ticket)).toThrow(expect.objectContaining(refused("UNAUTHENTICATED", "TICKET_REVOKED")));
      }
    }
    expect(withTicket.slice(0, 3)).toEqual([true, true, true]);
    // Whoever is revoked faster than dates can follow goes by the edge for some seconds.
    await waitFor(async () => (await lookup()).length > 0, { describe: "a date that is left" });
  });

  test("of the policy file is revoked also if it was made while no server ran", async () => {
    const own = await openDatabase();
    const rules = parsePolicies('[{"service": "hms.cdf.debate", "allowed_roles": ["doctor", "nurse"]}]', "p");
    const [rule] = rules;
    const wider = [...rules, { ...(rule as AccessRule), id: "x", service: "hms.emr.patient" }];
    const revocations = async (fileRules: readonly AccessRule[]) => {
      const opened = await openRegistry(own, fileRules);
      const found: (string | undefined)[] = [];
      for await (const { kind, revocation } of opened.as(doctor).watch({})) {
        if (kind === REVOKED) found.push(revocation?.serviceId);
        if (kind === SYNCED) break;
      }
      await opened.stop();
      return found;
    };
    expect(await revocations(rules)).toEqual([]);
    expect(await revocations(wider)).toEqual([]);
    expect(await revocations(wider)).toEqual([]);
    expect(await revocations(rules)).toEqual(["hms.emr.patient"]);
    const narrower = [{ ...(rule as AccessRule), allowedRoles: ["nurse"] }];
    expect((await revocations(narrower)).sort()).toEqual(["hms.cdf.debate", "hms.emr.patient"]);
  });

  test("is remembered by the next server: tickets from before stay revoked, policies hold", async () => {
    const own = await openDatabase();
    {
      const opened = await openRegistry(own);
      await openDebate(opened);
      await opened.policies.putPolicy({ policy: { policyId: "a", service: "hms.*", allowedRoles: ["doctor"] } });
      await opened.policies.deletePolicy({ policyId: "a" });
      await opened.policies.putPolicy({ policy: { policyId: "b", service: "hms.cdf.*", allowedRoles: ["doctor"] } });
      await opened.stop();
    }
    const opened = await openRegistry(own);
    const call = new AbortController();
    scene.stack.defer(() => call.abort());
    const watch = opened
      .as(doctor)
      .watch({ pattern: "hms.cdf.debate" }, { signal: call.signal })
      [Symbol.asyncIterator]();
    expect((await watch.next()).value?.service?.serviceId).toBe("hms.cdf.debate");
    const { value } = await watch.next();
    expect(value).toMatchObject({ kind: REVOKED, revocation: { principal: "", serviceId: "" } });
    const { tickets } = await opened.as(doctor).lookup({ serviceId: "hms.cdf.debate" });
    const [, payload = ""] = tickets[0]?.ticket.split(".") ?? [];
    const { iat } = JSON.parse(Buffer.from(payload, "base64url").toString());
    const issuedBefore = timestampDate(value?.revocation?.issuedBefore ?? expect.unreachable()).getTime() / 1000;
    expect(iat).toBeGreaterThanOrEqual(issuedBefore);
  });
});
