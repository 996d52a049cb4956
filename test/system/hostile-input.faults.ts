import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DescMethod } from "@bufbuild/protobuf";
import { platformServices } from "@hms/authorization";
import { resolveInstance } from "@hms/config";
import { agent, identityClients, identityKeys, identityUsers } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { machineSlowness } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { eachOf, everyObjectsNames, naughtyStrings, outcomeOf, textFields } from "./naughty-strings.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
let folder = "";
beforeAll(async () => {
  platform = await startPlatform();
  folder = join(platform.data, "..", "hostile");
  mkdirSync(folder);
  expect(await platform.cli("deploy", echoService(platform, { version: "1", replicas: 1 }))).toMatchObject({ code: 0 });
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const bomb = `a: &a [x, x, x, x, x, x, x, x, x]
${["b", "c", "d", "e", "f", "g", "h", "i"].map((key, index) => `${key}: &${key} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(", ")}]`).join("\n")}
name: *i
`;
const manifests: Record<string, string | Buffer> = {
  "10 MB of text": `name: big\nrun:\n  command: "${"x".repeat(10 * 1024 * 1024)}"\n`,
  "20 MB of text": Buffer.alloc(20 * 1024 * 1024, "x"),
  "a YAML bomb": bomb,
  "YAML nested ten thousand deep": "[".repeat(10_000),
  "a merge key bomb": `x: &x {a: 1}\ny: &y {<<: [${Array(500).fill("*x").join(",")}]}\nname: {<<: [${Array(500).fill("*y").join(",")}]}\n`,
  "binary garbage": Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919) % 256)),
  nothing: "",
  "a list": "- name: x\n",
  "a path for a name": 'name: ../x\nversion: "1"\nrun:\n  command: "true"\n',
  "a directory outside": 'name: fine\nversion: "1"\nrun:\n  command: "true"\n  directory: ../../../etc\n',
};
const notNames = ["../x", "..", ".", "/etc/passwd", "a/b", "", "A", "a".repeat(64), "x\ny", "%2e%2e%2fx", "-"];
const takingAName: [string, ...string[]][] = [
  ["status"],
  ["logs"],
  ["scale", "2"],
  ["run", "--", "true"],
  ["rm", "--yes"],
  ["rollback"],
  ["restart"],
  ["stop"],
  ["history"],
];

/** Folders a path in a name could have led to. */
const outside = () =>
  [platform.data, dirname(platform.data), join(platform.data, "agent")].map((at) => readdirSync(at));
const survivor = () => platform.json<{ service: { health: string; revision: string } }>("status", "echo-svc");

describe("a manifest that is", () => {
  test.each(Object.keys(manifests))("%s is refused with exit code 2 in no time", async (kind) => {
    const file = join(folder, "hostile.hms.yml");
    writeFileSync(file, manifests[kind] ?? "");
    for (const command of kind === "a YAML bomb" ? ["deploy", "plan"] : ["deploy"]) {
      const began = performance.now();
      const { code, stdout, stderr } = await platform.cli(command, file);
      expect({ code, stdout, stderr: stderr.slice(0, 300) }).toEqual({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining("hostile.hms.yml"),
      });
      expect(stderr.length).toBeLessThan(4000);
      const tookMs = performance.now() - began;
      expect(tookMs).toBeLessThan(2000 * (await machineSlowness()));
    }
  });

  test("a folder without any, or not there at all, is refused with exit code 2", async () => {
    const empty = join(folder, "empty");
    mkdirSync(empty, { recursive: true });
    for (const [file, words] of [
      [empty, "There is no manifest"],
      [join(folder, "nobody.yml"), "does not exist"],
    ] as const) {
      expect(await platform.cli("deploy", file)).toMatchObject({ code: 2, stderr: expect.stringContaining(words) });
    }
  });

  test("wrong in many ways shows all of it at once, with line, column and the nearest key", async () => {
    const file = platform.service(
      "wrong",
      "name: ../x\nversoin: 1\nrun:\n  comand: true\nscaling:\n  min: -1\n  max: lots\n",
    );
    const { code, stderr } = await platform.cli("deploy", file);
    expect(code).toBe(2);
    for (const words of ["1:7", "../x", "version", "command", "scaling.min", "scaling.max"])
      expect(stderr).toContain(words);
    const asJson = await platform.cli("deploy", file, "-o", "json");
    expect(JSON.parse(asJson.stdout).error.fieldViolations.length).toBeGreaterThanOrEqual(5);
  });
});

describe("what is no name", () => {
  test.each(takingAName)(
    "is refused by %s, and nothing is made of it",
    async (command, ...rest) => {
      const before = outside();
      for (const name of command === "status" ? notNames : ["../x", ""]) {
        const words = name === "-" ? ["--", name] : [name];
        const { code, stderr } = await platform.cli(command, ...words, ...rest);
        expect({ name, code, stderr }).toMatchObject({ code: 2, stderr: expect.not.stringMatching(/\n\s+at /) });
      }
      expect(outside()).toEqual(before);
    },
    60_000,
  );

  test("is refused as an environment, an instance and a replica", async () => {
    expect(await platform.cli("services", "-e", "../x")).toMatchObject({ code: 2 });
    expect(await platform.cli("services", "--instance", "../x")).toMatchObject({ code: 2 });
    expect(await platform.cli("logs", "echo-svc", "--replica", "../../../../etc/passwd")).toMatchObject({ code: 2 });
    expect(existsSync(join(folder, "x"))).toBe(false);
  });
});

describe("naughty strings", () => {
  const stack = new AsyncDisposableStack();
  afterAll(() => stack.disposeAsync());
  /** What the platform must never answer to a text, whatever it is. */
  const FAULT = /^(?:INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED|CANCELLED|UNAVAILABLE)/;
  const PER_FIELD = { unary: 12, server_streaming: 2, client_streaming: 2, bidi_streaming: 2 } as const;

  function connect() {
    const paths = resolveInstance({ instance: platform.instance, data: platform.data });
    const config = join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance);
    const token = readFileSync(join(config, "operator.token"), "utf8").trim();
    const open = (path: string) => stack.use(connectSocket({ path, token }));
    return { server: open(paths.kernelSocket), agent: open(paths.agentSocket), token };
  }

  test("through every text field of every method are answered, or refused with a reason", async () => {
    const to = connect();
    const fields = platformServices()
      .flatMap((service) => service.methods)
      .flatMap(textFields);
    expect(fields.length).toBeGreaterThan(250);
    await createClient(identityUsers.UserService, to.server).createUser({ login: "naughty" });
    await createClient(identityKeys.ServiceAccountService, to.server).createServiceAccount({ login: "naughty-batch" });
    const faults: string[] = [];
    const [seen, done] = [new Set<string>(), new Set<DescMethod>()];
    await eachOf([...fields.entries()], 8, async ([index, field]) => {
      const { method, path } = field;
      const transport = method.parent.typeName === agent.AgentService.typeName ? to.agent : to.server;
      // Each field gets others of them, and those that break lookups; all of them go through some field many times.
      const own = Array.from({ length: PER_FIELD[method.methodKind] }, (_, at) => index * 12 + at);
      for (const text of [...everyObjectsNames, ...own.map((at) => naughtyStrings[at % naughtyStrings.length] ?? "")]) {
        const outcome = await outcomeOf(transport, field, field.requestWith(text));
        seen.add(text);
        if (outcome === "OK") done.add(method);
        if (FAULT.test(outcome)) {
          faults.push(`${method.parent.typeName}/${method.name} ${path.join(".")} ${JSON.stringify(text)}: ${outcome}`);
        }
      }
    });
    expect(faults).toEqual([]);
    expect(seen.size).toBe(naughtyStrings.length);
    // Many get further than the first check.
    expect(done.size).toBeGreaterThan(20);
  }, 240_000);

  test("that are taken come back as they were, by socket and by HTTP", async () => {
    const { server, token } = connect();
    const clients = createClient(identityClients.ClientService, server);
    const redirectUris = ["https://naughty.example.org/"];
    const kept = new Map<string, string>();
    const call = async (method: string, body: object) => {
      const response = await fetch(platform.url(`/v1/hms.identity.v1.ClientService/${method}`), {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      return { status: response.status, json: (await response.json()) as { client?: { clientId: string } } };
    };
    await eachOf(naughtyStrings, 8, async (name) => {
      const { status, json } = await call("CreateClient", { name, redirectUris });
      if (status === 200) kept.set(json.client?.clientId ?? "", name);
      else expect([name, status]).toEqual([name, 400]);
    });
    expect(kept.size).toBeGreaterThan(300);
    const { clients: listed } = await clients.listClients({});
    const found = new Map(listed.map(({ clientId, name }) => [clientId, name]));
    for (const [id, name] of kept) expect(found.get(id)).toBe(name);
    const { json } = await call("ListClients", {});
    const byHttp = (json as { clients?: { clientId: string; name: string }[] }).clients ?? [];
    expect(byHttp.length).toBe(listed.length);
    for (const { clientId, name } of byHttp) expect(name).toBe(found.get(clientId));
  }, 120_000);
});

test("naughty preferences come back as they were, whichever of keys and values they are, or are refused", async () => {
  const at = async (token: string, method: string, body: object) => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const path = `/v1/hms.identity.v1.${method}`;
    const answer = await fetch(platform.url(path), { method: "POST", headers, body: JSON.stringify(body) });
    return {
      status: answer.status,
      json: (await answer.json()) as { user?: { preferences?: object }; secret?: string },
    };
  };
  const config = join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance);
  const operatorToken = readFileSync(join(config, "operator.token"), "utf8").trim();
  await at(operatorToken, "UserService/CreateUser", { login: "particular" });
  const { secret = "" } = (await at(operatorToken, "KeyService/CreateKey", { user: "particular", name: "k" })).json;
  const [fitting = [], unfit = []] = [false, true].map((has) =>
    naughtyStrings.filter((text) => text.includes("\u0000") === has),
  );
  // PostgreSQL has no place for these.
  for (const text of unfit) {
    for (const preferences of [{ [text]: "x" }, { key: [text] }]) {
      const { status } = await at(secret, "UserService/UpdateProfile", { preferences, updateMask: "preferences" });
      expect([text, status]).toEqual([text, 400]);
    }
  }
  const MANY = 20;
  for (let from = 0; from < fitting.length; from += MANY) {
    // A text comes four times, and all of it may have 16 KiB.
    const some = fitting.slice(from, from + MANY).filter((text) => text.length < 1000);
    const named = some.map((text) => [text, [text, { deep: { [`x${text}`]: text } }]]);
    const preferences = JSON.parse(JSON.stringify(Object.fromEntries(named)));
    const sent = await at(secret, "UserService/UpdateProfile", { preferences, updateMask: "preferences" });
    expect([some, sent.status]).toEqual([some, 200]);
    const { json } = await at(operatorToken, "UserService/GetUser", { user: "particular" });
    expect(json.user?.preferences).toEqual(preferences);
  }
}, 120_000);

test("after all of this the platform serves as before", async () => {
  expect(await survivor()).toMatchObject({ service: { health: "SERVICE_HEALTH_HEALTHY", revision: "1" } });
  expect((await platform.json<unknown[]>("services")).length).toBe(1);
  expect((await fetch(platform.url("/echo-svc"))).status).toBe(200);
});
