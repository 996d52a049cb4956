import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { resolveInstance } from "@hms/config";
import { deployment, policy, registry } from "@hms/contracts";
import { type Client, createClient } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";
import type { Attempts } from "./replica-caller.ts";

const OWNED = "hms.test.owned";

let platform: Platform;
let attempts: Attempts;
let stack = new AsyncDisposableStack();

/** The caller as one file: a replica sees nothing of the checkout. */
async function bundle(): Promise<string> {
  const build = await rolldown({ input: join(import.meta.dirname, "replica-caller.ts"), platform: "node" });
  const { output } = await build.generate({ format: "esm", codeSplitting: false });
  await build.close();
  return output[0].code;
}

const inConfig = (name: string) => join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance, name);

function transportWith(token: string) {
  const { kernelSocket } = resolveInstance({ instance: platform.instance, data: platform.data });
  return stack.use(connectSocket({ path: kernelSocket, token }));
}

function operatorTransport() {
  const token = readFileSync(inConfig("operator.token"), "utf8").trim();
  return { token, transport: transportWith(token) };
}

beforeAll(async () => {
  platform = await startPlatform();
  const { token, transport } = operatorTransport();
  const operator = createClient(registry.RegistryService, transport);
  await operator.register({ serviceId: OWNED, version: "v1", instanceId: "o", address: "http://127.0.0.1:1" });
  const manifest = `name: caller-svc
version: "1"
run:
  command: exec node caller.mjs
env:
  OPERATOR_TOKEN: "${token}"
  OWNED_ID: ${OWNED}
  GATEWAY_PORT: "${platform.network.gatewayPort}"
  CONFIG: ${inConfig("")}
routes:
  - path: /caller
scaling:
  min: 1
  max: 1
`;
  const file = platform.service("caller-svc", manifest, { "caller.mjs": await bundle() });
  expect(await platform.cli("deploy", file)).toMatchObject({ code: 0 });
  attempts = (await (await fetch(platform.url("/caller"))).json()) as Attempts;
}, 240_000);

afterAll(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

describe("a deployed service with its token", () => {
  test("registers and looks up", () => {
    expect(attempts).toMatchObject({ register: "OK", "look up": "OK" });
  });

  test("registers neither what is the platform's, nor another's, nor elsewhere", () => {
    const reserved = Object.entries(attempts).filter(([name]) => name.startsWith("register hms."));
    expect(reserved).toHaveLength(6);
    for (const [, end] of reserved) expect(end).toBe("PERMISSION_DENIED SERVICE_ID_RESERVED");
    expect(attempts).toMatchObject({
      "register elsewhere": "PERMISSION_DENIED OTHER_ENVIRONMENT",
      "register another's": "PERMISSION_DENIED SERVICE_ID_OWNED",
      "unregister another's": "PERMISSION_DENIED SERVICE_ID_OWNED",
      "report another's calls": "PERMISSION_DENIED SERVICE_ID_OWNED",
    });
  });

  test("may do nothing else with the platform", () => {
    const others = Object.entries(attempts).filter(([name]) => /^(Deployment|Mesh|Policy)Service\//.test(name));
    expect(others.length).toBeGreaterThan(20);
    expect(others.filter(([, end]) => end !== "PERMISSION_DENIED")).toEqual([]);
    expect(attempts["RegistryService/RegisterForeign"]).toBe("PERMISSION_DENIED");
    expect(attempts["RegistryService/List"]).toBe("OK");
  });

  test("is nobody without its token, and the operator's token is worth nothing there", () => {
    expect(attempts).toMatchObject({
      "look up as nobody": "UNAUTHENTICATED",
      "look up as operator": "UNAUTHENTICATED",
      "look up as forger": "UNAUTHENTICATED",
    });
  });

  test("reaches the platform's door and a place for its own socket, and nothing beside", async () => {
    expect(attempts["the operator's socket"]).toBe("false");
    expect(attempts["a file beside the socket"]).not.toBe("OK");
    expect(attempts["removing the socket"]).not.toBe("OK");
    expect(attempts["listening among the services"]).toBe("OK");
    const socket = connect(join(platform.data, "ffi/services/caller.sock"));
    expect(await text(socket)).toBe("hello");
  });

  test("learns the platform's own host nowhere, so it can lead no browser there", async () => {
    const told = (await (await fetch(platform.url("/caller?spied"))).json()) as string[];
    const host = readFileSync(inConfig("platform.host"), "utf8").trim();
    expect(host).toMatch(/^hms-[a-z2-7]{26}\.localhost$/);
    // It has looked: these are doors that answered.
    const all = told.join("\n");
    for (const door of [
      /^surroundings .*HMS_FFI_TOKEN/m,
      /platform\.host (?:ENOENT|EACCES)$/m,
      /^localhost 421 \/oidc\/\.well-known/m,
      /^hms\.localhost 421 \/ /m,
      /^mesh 200 \/ /m,
      /^socket [24]\d\d \//m,
      /^token 401 \/oidc\/token/m,
    ]) {
      expect(all).toMatch(door);
    }
    expect(told.filter((line) => line.includes(host.slice(4, 20)))).toEqual([]);
  });
});

test("the operator gets a ticket for it, others what a policy gives them", async () => {
  const { transport } = operatorTransport();
  const { service, tickets } = await createClient(registry.RegistryService, transport).lookup({
    serviceId: "hms.test.caller",
  });
  expect(service?.instances).toHaveLength(1);
  expect(tickets).toHaveLength(1);
  const { allowed, reason } = await createClient(policy.PolicyService, transport).explainAccess({
    principal: "service:default/caller-svc",
    roles: ["service"],
    serviceId: "hms.test.caller",
    method: "Anything",
  });
  expect([allowed, reason]).toEqual([false, expect.stringContaining("no policy allows anybody")]);
});

describe("somebody with a key", () => {
  const { SYNCED, REVOKED } = registry.WatchEventKind;
  const caller = { serviceId: "hms.test.caller" };
  let anna: Client<typeof registry.RegistryService>;

  const ticketCount = async () => (await anna.lookup(caller)).tickets.length;
  const until = (act: () => Promise<boolean>, describe: string) => waitFor(act, { deadlineMs: 30_000, describe });

  /** The revocations that a new watch is told of before SYNCED. */
  async function revocations(): Promise<(registry.Revocation | undefined)[]> {
    const call = new AbortController();
    const found: (registry.Revocation | undefined)[] = [];
    for await (const { kind, revocation } of anna.watch({ pattern: caller.serviceId }, { signal: call.signal })) {
      if (kind === REVOKED) found.push(revocation);
      if (kind === SYNCED) break;
    }
    call.abort();
    return found;
  }

  test("is known as soon as the key file says so, and gets tickets as soon as the policy file does", async () => {
    const key = {
      id: "anna",
      kind: "user",
      roles: ["doctor"],
      token_sha256: createHash("sha256").update("t").digest("hex"),
    };
    writeFileSync(inConfig("ffi-keys.json"), JSON.stringify([key]), { mode: 0o600 });
    anna = createClient(registry.RegistryService, transportWith("t"));
    const known = () =>
      ticketCount().then(
        () => true,
        ({ code }) => code !== "UNAUTHENTICATED",
      );
    await until(known, "anna is known");
    expect(await ticketCount()).toBe(0);
    writeFileSync(inConfig("ffi-policies.json"), '{"service": "hms.test.*", "allowed_roles": ["doctor"]}', {
      mode: 0o644,
    });
    await until(async () => (await ticketCount()) === 1, "a ticket for anna");
    expect(await revocations()).toEqual([]);
  });

  test("does with a role what that stands for, and anybody can be told what would have to change", async () => {
    const key = {
      id: "vera",
      kind: "user",
      roles: ["viewer"],
      token_sha256: createHash("sha256").update("v").digest("hex"),
    };
    const keys = JSON.parse(readFileSync(inConfig("ffi-keys.json"), "utf8"));
    writeFileSync(inConfig("ffi-keys.json"), JSON.stringify([...keys, key]), { mode: 0o600 });
    const vera = createClient(deployment.DeploymentService, transportWith("v"));
    const listed = () => vera.listServices({}).then(({ services }) => services.map(({ name }) => name));
    await until(
      () =>
        listed().then(
          () => true,
          () => false,
        ),
      "vera is known",
    );
    expect(await listed()).toEqual(["caller-svc"]);
    const service = "caller-svc";
    await expect(vera.getService({ service })).resolves.toMatchObject({ service: { name: service } });
    const scaling = async () => {
      for await (const _ of vera.scale({ service, replicas: 1 })) break;
    };
    await expect(scaling()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const denied = await platform.cli("auth", "explain", "user:vera", "services:scale", service);
    expect(denied).toMatchObject({ code: 1, stdout: expect.stringContaining("Decided with the roles viewer.") });
    expect(denied.stdout).toContain("with the role operator");
    const allowed = await platform.cli("auth", "explain", "user:vera", "services:read", service);
    expect(allowed).toMatchObject({ code: 0, stdout: expect.stringContaining("Allowed by role:viewer.") });
  });

  test("loses it at once when the policy goes, also for a server that was killed right after it", async () => {
    writeFileSync(inConfig("ffi-policies.json"), "[]", { mode: 0o644 });
    await until(async () => (await ticketCount()) === 0, "no ticket for anna");
    await until(async () => (await revocations()).length > 0, "a revocation");
    const before = await platform.pidOf("server");
    process.kill(before, "SIGKILL");
    const again = () =>
      platform.pidOf("server").then(
        (pid) => pid !== before && pid > 0,
        () => false,
      );
    await until(again, "the server is back");
    await until(
      () =>
        revocations().then(
          (found) => found.length > 0,
          () => false,
        ),
      "the revocation is known again",
    );
    expect(await ticketCount()).toBe(0);
  });
});
