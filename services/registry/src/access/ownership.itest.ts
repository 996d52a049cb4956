import type { Principal } from "@hms/kernel";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  accessHost,
  clearScene,
  debate,
  debateSvc,
  doctor,
  type Opened,
  openDebate,
  openRegistry,
  openRegistryHere,
  operator,
  refused,
  workload,
} from "../testing/access-scene.ts";

afterEach(clearScene);
afterAll(() => accessHost[Symbol.asyncDispose]());

describe("registering", () => {
  const register = (opened: Opened, principal: Principal, serviceId: string, environment = "default") =>
    opened.as(principal).register({ ...debate, serviceId, environment });

  test("is for who came first, also after the last instance has gone, until the operator hands the id over", async () => {
    const opened = await openRegistry();
    const other = workload("other-svc");
    const id = "hms.cdf.debate";
    await register(opened, debateSvc, id);
    await expect(register(opened, other, id)).rejects.toMatchObject(refused("PERMISSION_DENIED", "SERVICE_ID_OWNED"));
    await expect(opened.as(other).unregister(debate)).rejects.toMatchObject(refused("PERMISSION_DENIED"));
    await expect(opened.as(other).reportCalls({ ...debate, calls: [] })).rejects.toMatchObject(
      refused("PERMISSION_DENIED"),
    );
    await opened.as(debateSvc).unregister(debate);
    await expect(register(opened, other, id)).rejects.toMatchObject(refused("PERMISSION_DENIED"));
    await opened.as(operator).unregister(debate);
    await register(opened, other, id);
    await expect(register(opened, debateSvc, id)).rejects.toMatchObject(refused("PERMISSION_DENIED"));
  });

  test("of what the operator runs by hand is nobody's as soon as it has gone", async () => {
    const opened = await openRegistry();
    await register(opened, operator, "hms.cdf.debate");
    await expect(register(opened, debateSvc, "hms.cdf.debate")).rejects.toMatchObject(refused("PERMISSION_DENIED"));
    await opened.as(operator).unregister(debate);
    await register(opened, debateSvc, "hms.cdf.debate");
    await register(opened, operator, "hms.cdf.debate");
    await register(opened, debateSvc, "hms.cdf.debate");
  });

  test("of the platform's own ids is for its components only", async () => {
    const opened = await openRegistry();
    const reserved = refused("PERMISSION_DENIED", "SERVICE_ID_RESERVED");
    const others = ["identity", "assets", "automation.x", "communication"].map((name) => `hms.${name}`);
    for (const id of [
      "hms.ffi",
      "hms.sys.deployment",
      "hms.sys.x.y",
      "grpc.health",
      "google.rpc",
      "buf.validate",
      ...others,
    ]) {
      for (const principal of [debateSvc, operator, { kind: "user", id: "keyed" } as const]) {
        await expect(register(opened, principal, id)).rejects.toMatchObject(reserved);
      }
      await register(opened, { kind: "component", id: "server" }, id);
    }
    await register(opened, debateSvc, "hms.identityx");
  });

  test("follows what a key was given, and a deployed service stays in its environment", async () => {
    const opened = await openRegistry();
    const keyed: Principal = { kind: "user", id: "keyed" };
    await register(opened, keyed, "hms.billing.invoice");
    const notGiven = refused("PERMISSION_DENIED", "SERVICE_ID_NOT_GRANTED");
    await expect(register(opened, keyed, "hms.billing")).rejects.toMatchObject(notGiven);
    await expect(register(opened, doctor, "hms.emr.patient")).rejects.toMatchObject(notGiven);
    await expect(register(opened, debateSvc, "hms.x", "prod")).rejects.toMatchObject(
      refused("PERMISSION_DENIED", "OTHER_ENVIRONMENT"),
    );
    await register(opened, workload("debate-svc", "prod"), "hms.billing.invoice", "prod");
  });
});

// The spool is of the process that the registry runs in, and looked into.
describe("what instances tell of their calls", () => {
  const call = (recordId: string, init: object = {}) => ({
    recordId,
    method: "DebateService/CreateDebate",
    principal: "user:anna",
    code: 0,
    requestId: "r-1",
    ...init,
  });

  test("becomes one audit event for each record, however often it is told", async () => {
    const opened = await openRegistryHere();
    const { as, audited, spool } = opened;
    await openDebate(opened);
    const tell = (calls: object[]) => as(debateSvc).reportCalls({ ...debate, calls });
    await tell([call("a", { requestJson: '{"topic":"x"}' }), call("b", { code: 7, reason: "no" })]);
    spool.accepts = false;
    await tell([call("a")]);
    await expect(tell([call("c")])).rejects.toMatchObject(refused("RESOURCE_EXHAUSTED"));
    spool.accepts = true;
    await tell([call("b"), call("c", { code: 16 }), call("d", { code: 5 })]);
    expect(audited).toMatchObject([
      {
        method: "hms.cdf.debate.v1.DebateService/CreateDebate",
        outcome: "OK",
        request: { topic: "x" },
        requestId: "r-1",
      },
      { outcome: "denied", reason: "no", principal: { kind: "user", id: "anna" }, resource: "hms.cdf.debate" },
      { outcome: "denied" },
      { outcome: "NOT_FOUND" },
    ]);
  });

  test("is refused as a whole if something is wrong with it", async () => {
    const opened = await openRegistryHere();
    await openDebate(opened);
    const calls = [call("", { method: "x" }), call("b", { principal: "anna" })];
    await expect(opened.as(debateSvc).reportCalls({ ...debate, calls })).rejects.toMatchObject({
      details: {
        fieldViolations: [
          { field: "calls[0].record_id" },
          { field: "calls[0].method" },
          { field: "calls[1].principal" },
        ],
      },
    });
    expect(opened.audited).toEqual([]);
  });
});
