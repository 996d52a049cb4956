import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ffiOptions, registry } from "@hms/contracts";
import { contractOfSchemas, descriptorSetOf, ruleOf } from "@hms/descriptors";
import { openTestPlatform } from "@hms/direct-calls/testing";
import { anonymous, HmsError, Kernel, type ServiceRegistration } from "@hms/kernel";
import { tempFolder, tempInstance } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const schemas = [
  {
    name: "EvaluatePolicy",
    inputSchema: JSON.stringify({
      type: "object",
      properties: {
        policy_id: { type: "string" },
        score: { type: "integer" },
        resource: { type: "object", properties: { kind: { type: "string" } } },
      },
    }),
    outputSchema: JSON.stringify({ type: "object", properties: { verdict: { type: "string" } } }),
  },
  { name: "Count", serverStreaming: true, idempotency: ffiOptions.Idempotency.NO_SIDE_EFFECTS },
  { name: "Sum", clientStreaming: true },
].map((one: MessageInitShape<typeof registry.MethodSchemaSchema>) => create(registry.MethodSchemaSchema, one));

const stack = new AsyncDisposableStack();
let env: NodeJS.ProcessEnv = {};

beforeAll(async () => {
  const { paths, root } = stack.use(tempInstance());
  writeFileSync(paths.operatorToken, "operator", { mode: 0o600 });
  const { memory } = stack.use(await openTestPlatform(paths.kernelSocket));
  const { files } = contractOfSchemas({ serviceId: "hms.cdf.debate", version: "v1", methods: schemas });
  const service = files.getService("hms.cdf.debate.v1.DebateService");
  const implementation = {
    evaluatePolicy: ({ policyId, resource }: { policyId: string; resource?: { kind: string } }) => {
      if (policyId === "none") throw new HmsError("NOT_FOUND", "No policy none.", { reason: "POLICY_UNKNOWN" });
      return { verdict: `${policyId} on ${resource?.kind}` };
    },
    async *count() {
      for (const n of [1, 2]) yield { fields: { n: { kind: { case: "numberValue", value: n } } } };
    },
    async sum(requests: AsyncIterable<unknown>) {
      let count = 0;
      for await (const _ of requests) count += 1;
      return { fields: { count: { kind: { case: "numberValue", value: count } } } };
    },
  };
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register({ service, implementation, ruleOf } as unknown as ServiceRegistration);
  const server = stack.use(await serveSocket(kernel, { path: `${paths.run}/debate.sock`, graceMs: 100 }));
  const key = { environment: "default", serviceId: "hms.cdf.debate", version: "v1" };
  const instance = { instanceId: "a", address: server.address, others: ["tcp://127.0.0.1:9"] };
  memory.put(key, [instance], descriptorSetOf(files.files));
  env = {
    PATH: process.env.PATH,
    HOME: root,
    XDG_CONFIG_HOME: `${root}/c`,
    HMS_INSTANCE: "test",
    HMS_DATA: paths.data,
  };
});
afterAll(() => stack.disposeAsync());

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function cli(args: string[], input = "", more: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...env, ...more } });
  child.stdin.end(input);
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { code, stdout, stderr };
}

describe("hms-sys ffi", () => {
  test("lists what can be called", async () => {
    const { code, stdout } = await cli(["ffi", "list"]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/hms\.cdf\.debate +v1 +1\/1 +yes/)]);
    const json = JSON.parse((await cli(["ffi", "list", "-o", "json"])).stdout);
    expect(json).toMatchObject([{ serviceId: "hms.cdf.debate", version: "v1" }]);
  });

  test("describes methods and their messages", async () => {
    expect((await cli(["ffi", "describe", "hms.cdf.debate"])).stdout).toMatch(
      /Count +one request, a stream of answers/,
    );
    const { stdout } = await cli(["ffi", "describe", "hms.cdf.debate", "evaluate_policy"]);
    expect(stdout).toMatch(/EvaluatePolicyRequest \{\n +policy_id +string/);
  });

  test("calls by fields, by JSON, from a file and from standard input", async () => {
    const call = ["ffi", "call", "hms.cdf.debate", "EvaluatePolicy"];
    const verdict = { verdict: "p-1 on file" };
    expect(JSON.parse((await cli([...call, "policy_id=p-1", "resource.kind=file"])).stdout)).toEqual(verdict);
    const request = '{"policy_id": "p-1", "resource": {"kind": "file"}}';
    expect(JSON.parse((await cli([...call, request])).stdout)).toEqual(verdict);
    expect(JSON.parse((await cli([...call, "-"], request)).stdout)).toEqual(verdict);
  });

  test("streams one JSON document a line, both ways", async () => {
    expect((await cli(["ffi", "call", "hms.cdf.debate", "Count"])).stdout).toBe('{"n":1}\n{"n":2}\n');
    const { stdout } = await cli(["ffi", "call", "hms.cdf.debate", "Sum", "-"], '{"a":1}\n{"a":2}\n{"a":3}\n');
    expect(JSON.parse(stdout)).toEqual({ count: 3 });
  });

  test("checks a request before it sends it, and names what is nearest", async () => {
    const { code, stderr } = await cli(["ffi", "call", "hms.cdf.debate", "EvaluatePolicy", "policy=p-1"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/Did you mean policy_id\?/);
    const method = await cli(["ffi", "call", "hms.cdf.debate", "EvaluatePolcy"]);
    expect(method.stderr).toMatch(/no method EvaluatePolcy\. Did you mean EvaluatePolicy\?/);
    const dry = await cli(["ffi", "call", "hms.cdf.debate", "EvaluatePolicy", "policy_id=x", "--dry-run"]);
    expect(JSON.parse(dry.stdout)).toEqual({ policy_id: "x" });
  });

  test.each([
    ["policy_id", '✗ "policy_id" is no field: write name=value, or the whole request as JSON.\n'],
    ['{"policy_id": }', /is not JSON: Unexpected token '}'.*Nothing was sent\.\n$/],
    ["[1]", /is a list: write one JSON object.*Nothing was sent\.\n$/],
    ["polcy_id=x", /^[^\n]*policy_id, resource, score\. Did you mean policy_id\? Nothing was sent\.\n$/],
  ])("says once what is wrong with the request %s, and sends nothing", async (request, said) => {
    const { code, stdout, stderr } = await cli(["ffi", "call", "hms.cdf.debate", "EvaluatePolicy", request]);
    expect([code, stdout, stderr]).toEqual([2, "", typeof said === "string" ? said : expect.stringMatching(said)]);
  });

  test("takes the contract's own name for the service", async () => {
    const { code, stdout } = await cli(["ffi", "describe", "hms.cdf.debate.v1.DebateService", "-o", "json"]);
    expect([code, JSON.parse(stdout)]).toMatchObject([0, [{ service: "hms.cdf.debate.v1.DebateService" }, {}, {}]]);
  });

  test("does one thing to policies at a time", async () => {
    const { code, stderr } = await cli(["ffi", "policy", "--put", "{}", "--delete", "p-1"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--put and --delete do different things")]);
  });

  test("ends with the error of the call, as a document too", async () => {
    const { code, stdout } = await cli([
      "ffi",
      "call",
      "hms.cdf.debate",
      "EvaluatePolicy",
      "policy_id=none",
      "-o",
      "json",
    ]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      error: { code: "NOT_FOUND", message: "No policy none.", reason: "POLICY_UNKNOWN" },
    });
  });

  test("explains which way a call would go", async () => {
    const { stdout } = await cli(["ffi", "explain", "hms.cdf.debate"]);
    expect(stdout).toMatch(/in default: edge\. There is no ticket/);
    expect(stdout).toMatch(/→ unix:.*debate\.sock: the nearest that can be used: frames over a unix socket/);
    expect(stdout).toContain("instance a: protobuf, or JSON if the callee has no protobuf, no ticket");
  });

  test("explains which way it would go with a program's configuration file", async () => {
    const explained = async (transport: string) => {
      using folder = tempFolder({ "ffi.yml": `ffi: {transport: {${transport}}}` });
      return await cli(["ffi", "explain", "hms.cdf.debate"], "", { HMS_FFI_CONFIG_PATH: `${folder.path}/ffi.yml` });
    };
    const { stdout, stderr: complaints } = await explained("default: tcp");
    expect(complaints).toBe("");
    expect(stdout).toMatch(/→ tcp:.*: transport\.default is tcp: frames over TCP on this machine/);
    expect(stdout).toMatch(/ {2}unix:.*debate\.sock: tcp is preferred/);
    expect((await explained("local_socket: {enabled: false}")).stdout).toMatch(
      /unix:.*: this program does not speak it/,
    );
    const { code, stderr } = await explained("default: pigeon");
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/ffi\.transport\.default must be one of auto, in_process, /),
    ]);
  });

  test("completes services, methods and fields", async () => {
    const complete = async (...words: string[]) => (await cli(["__complete", ...words])).stdout;
    expect(await complete("ffi", "")).toMatch(/^call\t/m);
    expect(await complete("f")).toMatch(/^ffi\t/m);
    expect(await complete("ffi", "call", "hms")).toBe("hms.cdf.debate\tv1\n");
    expect(await complete("ffi", "call", "hms.cdf.debate", "Ev")).toBe("EvaluatePolicy\tone request, one answer\n");
    expect(await complete("ffi", "call", "hms.cdf.debate", "EvaluatePolicy", "pol")).toBe("policy_id=\tstring\n");
  });
});
