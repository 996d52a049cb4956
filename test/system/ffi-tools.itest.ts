import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { type FieldDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { resolveInstance } from "@hms/config";
import { NotFoundError, serve } from "@hms/ffi";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startStockServer } from "../../services/registry/src/testing/stock-grpc-server.ts";
import { hmsSys, type Platform, startPlatform } from "./platform.ts";

/** Of descriptor.proto: a field that occurs once, and two types. */
const [OPTIONAL, STRING, INT64] = [1, 9, 3];

type Fields = Record<string, number>;

/** A contract of demo.shop with the fields of its request, as `buf build` makes it. */
function contractOf(fields: Fields): Uint8Array {
  const field = Object.entries(fields).map(
    ([name, type], at) => ({ name, jsonName: name, number: at + 1, label: OPTIONAL, type }) as FieldDescriptorProto,
  );
  const method = { name: "GetPrice", inputType: ".demo.shop.v1.Ask", outputType: ".demo.shop.v1.Ask" };
  const file = {
    name: "demo/shop/v1/shop.proto",
    package: "demo.shop.v1",
    syntax: "proto3",
    messageType: [{ name: "Ask", field }],
    service: [{ name: "ShopService", method: [method] }],
  };
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file as never] }));
}

let platform: Platform;
let token = "";
const stack = new AsyncDisposableStack();

function contractFile(name: string, fields: Fields): string {
  const path = join(platform.data, "..", name);
  writeFileSync(path, contractOf(fields));
  return path;
}

beforeAll(async () => {
  platform = stack.use(await startPlatform());
  token = readFileSync(join(platform.data, "..", "c", "hms-sys", platform.instance, "operator.token"), "utf8").trim();
  const { kernelSocket } = resolveInstance({ instance: platform.instance, data: platform.data });
  const shop = await serve({
    serviceId: "demo.shop",
    registryUrl: `unix:${kernelSocket}`,
    token,
    contract: contractOf({ sku: STRING, cents: INT64 }),
    methods: {
      GetPrice: ({ sku }: { sku: string }) => {
        if (sku === "none") throw new NotFoundError("No such thing: none.", { reason: "SKU_UNKNOWN" });
        return { sku, cents: 250n };
      },
    },
  });
  stack.use(shop);
  await shop.registered;
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

const call = (sku: string) => platform.cli("ffi", "call", "demo.shop", "GetPrice", `sku=${sku}`);

describe("ffi tap", () => {
  let child: ChildProcess | undefined;
  afterAll(() => child?.kill("SIGKILL"));

  interface Tapping {
    readonly lines: string[];
    readonly said: () => string;
    interrupt(): Promise<number | null>;
  }

  /** Starts a tap and waits until it says that it is open. */
  async function tap(...args: string[]): Promise<Tapping> {
    const started = spawn(hmsSys, ["ffi", "tap", ...args], { env: platform.env, stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    const lines: string[] = [];
    let [out, said] = ["", ""];
    started.stdout.on("data", (text) => {
      out += text;
      lines.splice(0, lines.length, ...out.split("\n").slice(0, -1));
    });
    started.stderr.on("data", (text) => {
      said += text;
    });
    await waitFor(() => said.includes("Ctrl-C ends this"), { describe: () => `an open tap; it said: ${said}` });
    const interrupt = () => {
      const ended = new Promise<number | null>((done) => started.once("close", done));
      started.kill("SIGINT");
      return ended;
    };
    return { lines, said: () => said, interrupt };
  }

  test("shows calls of the command line and by HTTP, with their outcome, and ends with 130", async () => {
    const { lines, interrupt } = await tap("demo.shop", "-o", "json");
    expect(await call("tea")).toMatchObject({ code: 0 });
    expect(await call("none")).toMatchObject({ code: 1 });
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    await fetch(platform.url("/v1/demo.shop/GetPrice"), { method: "POST", headers, body: '{"sku": "tea"}' });
    await waitFor(() => lines.length === 3, { describe: () => `three calls; there are: ${lines.join("\n")}` });
    const shown = lines.map((line) => JSON.parse(line));
    const same = {
      service: "demo.shop.v1.ShopService",
      method: "GetPrice",
      environment: "default",
      principal: "operator:operator",
    };
    expect(shown).toMatchObject([
      { ...same, code: "OK", transport: "frames" },
      { ...same, code: "NOT_FOUND", reason: "SKU_UNKNOWN", transport: "frames" },
      { ...same, code: "OK", transport: "http" },
    ]);
    expect(lines.join("")).not.toContain("tea");
    expect(await interrupt()).toBe(130);
  }, 60_000);

  test("shows failures only, in words, where it is asked to", async () => {
    const { lines, interrupt } = await tap("demo.shop/Get*", "--errors", "--principal", "operator:*");
    await call("tea");
    await call("none");
    await waitFor(() => lines.length > 0, { describe: "a failed call" });
    expect(lines).toEqual([
      expect.stringMatching(
        /^\S+Z {2}demo\.shop\.v1\.ShopService\/GetPrice {2}NOT_FOUND \(SKU_UNKNOWN\) {2}[\d.]+ m?s {2}operator:operator {2}frames/,
      ),
    ]);
    expect(await interrupt()).toBe(130);
  }, 60_000);

  test("shows requests of methods that are audited with them, and of no others", async () => {
    const { lines, interrupt } = await tap("--payload", "-o", "json", "hms.ffi.v1.PolicyService");
    const policy = JSON.stringify({ service: "demo.payload", allowed_roles: ["a"] });
    const { stdout: id } = await platform.cli("ffi", "policy", "--put", policy);
    await platform.cli("ffi", "policy");
    await waitFor(() => lines.length === 2, { describe: "two calls" });
    const shown = lines.map((line) => JSON.parse(line));
    expect(shown[0]).toMatchObject({ method: "PutPolicy", request: { policy: { service: "demo.payload" } } });
    expect(shown[1]).toMatchObject({ method: "ListPolicies" });
    expect(shown[1].request).toBeUndefined();
    expect(await interrupt()).toBe(130);
    await platform.cli("ffi", "policy", "--delete", id.trim());
  }, 60_000);

  test("says that the server went away, and goes on when it is back", async () => {
    const { lines, said, interrupt } = await tap("demo.shop");
    process.kill(await platform.pidOf("server"), "SIGKILL");
    await waitFor(() => said().includes("The server is away"), { deadlineMs: 20_000, describe: "that it is away" });
    await waitFor(() => said().includes("calls show again"), { deadlineMs: 60_000, describe: "that it is back" });
    await waitFor(async () => (await call("tea")).code === 0, { deadlineMs: 30_000, describe: "a call" });
    await waitFor(() => lines.some((line) => line.includes("  OK  ")), { describe: "the call" });
    expect(await interrupt()).toBe(130);
  }, 120_000);
});

describe("ffi register", () => {
  test("makes a stock gRPC server callable by its reflection", async () => {
    await using server = await startStockServer({ protos: ["greeter"] });
    const { code, stdout } = await platform.cli("ffi", "register", server.address);
    expect([code, stdout]).toEqual([0, "helloworld v1\n"]);
    const json = await platform.json<object[]>("ffi", "register", server.address, "--services", "helloworld.Greeter");
    expect(json).toMatchObject([
      { serviceId: "helloworld", version: "v1", hasContract: true, instances: [{ address: server.address }] },
    ]);
    const said = await platform.json("ffi", "call", "helloworld", "SayHello", "name=Ada");
    expect(said).toMatchObject({ message: "Hello Ada" });
  }, 60_000);

  test("says what a server does not offer, and when none answers", async () => {
    await using server = await startStockServer({ protos: ["greeter"] });
    const asked = await platform.cli("ffi", "register", server.address, "--services", "nope.v1.X,other.Y");
    expect(asked).toMatchObject({
      code: 1,
      stderr: "✗ The server has no service nope.v1.X, other.Y. It offers helloworld.Greeter.\n",
    });
    const nobody = await platform.cli("ffi", "register", "grpc://127.0.0.1:1");
    expect(nobody).toMatchObject({ code: 1, stderr: expect.stringMatching(/does not answer.*start it, or check/) });
  }, 60_000);

  test("names every problem of its input at once and exits 2", async () => {
    const { code, stderr } = await platform.cli(
      ...["ffi", "register", "nonsense", "--contract-version", "x!", "-e", "Bad Env"],
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/environment: "Bad Env" .*\n.*address: "nonsense" .*grpc:\/\/.*\n.*version: "x!" /);
  });
});

describe("ffi diff", () => {
  test("exits 0 where nothing differs, and 10 where something does, breaking or not", async () => {
    const same = await platform.cli(
      "ffi",
      "diff",
      "demo.shop",
      contractFile("same.binpb", { sku: STRING, cents: INT64 }),
    );
    expect(same).toMatchObject({ code: 0, stdout: "", stderr: "Nothing differs.\n" });
    const wider = contractFile("wider.binpb", { sku: STRING, cents: INT64, note: STRING });
    const added = await platform.cli("ffi", "diff", "demo.shop", wider);
    expect(added).toMatchObject({ code: 10, stdout: expect.not.stringContaining("breaks") });
    expect(added.stdout).toBe("adds the field demo.shop.v1.Ask.note\n");
    const other = contractFile("other.binpb", { sku: INT64, price: INT64 });
    const broken = await platform.cli("ffi", "diff", "demo.shop", other);
    expect(broken.code).toBe(10);
    expect(broken.stdout.split("\n").filter((line) => line.startsWith("breaks")).length).toBeGreaterThan(1);
    expect(broken.stdout).toMatch(/sku/);
    expect(broken.stdout).toMatch(/price|cents/);
  }, 60_000);

  test("tells programs which differences break callers", async () => {
    const other = contractFile("other.binpb", { sku: INT64, cents: INT64 });
    const { code, stdout } = await platform.cli("ffi", "diff", "demo.shop", other, "-o", "json");
    expect([code, JSON.parse(stdout)]).toMatchObject([
      10,
      { known: true, differences: [{ breaking: true, subject: expect.stringContaining("sku") }] },
    ]);
  });

  test("refuses a set of another package, naming the one it looked for", async () => {
    const file = contractFile("first.binpb", { sku: STRING });
    const wrong = await platform.cli("ffi", "diff", "demo.new", file);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("demo.new.v1") });
    const next = await platform.cli("ffi", "diff", "demo.shop.v2", file);
    expect(next).toMatchObject({ code: 2, stderr: expect.stringContaining("demo.shop.v2") });
  });

  test("exits 2 for what is no contract, saying how to make one", async () => {
    const missing = await platform.cli("ffi", "diff", "demo.shop", "/nowhere.binpb");
    expect(missing).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/cannot be read.*buf build -o set\.binpb/),
    });
    const path = join(platform.data, "..", "garbage.binpb");
    writeFileSync(path, "garbage!");
    const garbage = await platform.cli("ffi", "diff", "demo.shop", path);
    expect(garbage).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no complete FileDescriptorSet.*buf build/),
    });
  });
});

describe("ffi policy", () => {
  test("adds, lists, explains and removes", async () => {
    const policy = { service: "demo.sh*", allowed_roles: ["clerk"], denied_roles: ["intern"], requires_mfa: true };
    const put = await platform.cli("ffi", "policy", "--put", JSON.stringify(policy));
    expect(put).toMatchObject({ code: 0, stdout: expect.stringMatching(/^p-\w+\n$/) });
    const id = put.stdout.trim();
    const about = ["ffi", "policy", "demo.shop", "GetPrice"];
    expect((await platform.cli(...about)).stdout).toMatch(
      new RegExp(`demo\\.sh\\* +\\* +clerk +intern +yes +- +${id}`),
    );
    const as = (...more: string[]) => platform.cli(...about, "--as", "user:anna", "--roles", ...more);
    expect(await as("clerk")).toMatchObject({ code: 1, stdout: expect.stringMatching(/^Denied: .*second factor/) });
    expect(await as("clerk", "--mfa")).toMatchObject({ code: 0, stdout: `Allowed by ${id}.\n` });
    expect(await as("clerk,intern", "--mfa")).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^Denied: .*denies the role intern/),
    });
    expect(await platform.cli("ffi", "policy", "--delete", id)).toMatchObject({ code: 0, stderr: `Removed ${id}.\n` });
    expect(await platform.cli("ffi", "policy", "demo.shop")).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("only the operator may call"),
    });
  }, 60_000);

  test("names every problem of a policy at once, before and after it was sent", async () => {
    const put = (policy: object) => platform.cli("ffi", "policy", "--put", JSON.stringify(policy));
    const unreadable = await put({ service: "demo.shop", allowedroles: [], audit_level: "x" });
    expect(unreadable.code).toBe(2);
    expect(unreadable.stderr).toMatch(/Nothing was sent\.\n.*allowedroles: .*Did you mean allowed_roles\?\n/);
    expect(unreadable.stderr).toMatch(/audit_level: "x" is none of .*AUDIT_LEVEL_METADATA/);
    const wrong = await put({ service: "", method: "a b", environment: "X Y" });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/policy\.service: .*\n.*policy\.method: .*\n.*policy\.environment: /);
  });

  test("removes nothing that is not there, and explains no half of a call", async () => {
    const unknown = await platform.cli("ffi", "policy", "--delete", "nope");
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining("no policy nope") });
    const half = await platform.cli("ffi", "policy", "demo.shop", "--as", "user:anna");
    expect(half).toMatchObject({ code: 2, stderr: expect.stringContaining("name the service and the method") });
  });
});

describe("ffi generate", () => {
  test("writes code for services in the registry, and says which ones are not there", async () => {
    const out = join(platform.data, "..", "generated");
    const ts = await platform.cli("ffi", "generate", "demo.shop", "hms.sys.mesh@v1", "--lang", "ts", "--out", out);
    expect(ts).toMatchObject({ code: 0, stdout: `${out}/demo-shop-v1.ts\n${out}/hms-sys-mesh-v1.ts\n` });
    const mesh = readFileSync(join(out, "hms-sys-mesh-v1.ts"), "utf8");
    // The platform's own descriptors have no comments; these are kept beside them.
    expect(mesh).toMatch(/\/\*\* .*\n.*\n? *setService\(request: ffi\.Init<SetServiceRequest>/);
    const python = await platform.cli("ffi", "generate", "demo.shop", "--lang", "python", "--out", out);
    expect(python).toMatchObject({ code: 0, stdout: `${out}/demo_shop_v1.py\n` });
    const unknown = await platform.cli("ffi", "generate", "demo.shp", "--lang", "ts", "--out", out);
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining("demo.shop") });
  }, 60_000);
});

describe("completion of a call", () => {
  const words: [line: string[], found: string[]][] = [
    [["ffi", "call", "demo."], ["demo.shop"]],
    [["ffi", "call", "demo.shop", "G"], ["GetPrice"]],
    [
      ["ffi", "call", "demo.shop", "GetPrice", ""],
      ["sku=", "cents="],
    ],
    [["ffi", "call", "demo.shop", "GetPrice", "sku=tea", "c"], ["cents="]],
    [["ffi", "t"], ["tap"]],
    [["ffi", "tap", "demo"], ["demo.shop"]],
  ];
  const env = () => ({ ...platform.env, PATH: `${dirname(hmsSys)}:${process.env.PATH}` });

  test.each(words)("by bash of %j is %j", (line, found) => {
    const quoted = ["hms-sys", ...line].map((word) => `'${word}'`).join(" ");
    const script = `source <(hms-sys completion bash)
      COMP_WORDS=(${quoted}); COMP_CWORD=${line.length}; COMP_LINE="hms-sys ${line.join(" ")}"
      compopt() { :; }
      _hms_sys; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", script], { env: env(), encoding: "utf8" });
    expect(stdout.trim().split("\n").sort(), stderr).toEqual([...found].sort());
  });

  const zsh = spawnSync("zsh", ["--version"], { stdio: "ignore" }).error === undefined;

  test.skipIf(!zsh).each(words)("by zsh, where it is installed, of %j is %j", (line, found) => {
    const quoted = ["hms-sys", ...line].map((word) => `'${word}'`).join(" ");
    const script = `compdef() { :; }
      source <(hms-sys completion zsh)
      _describe() { print -rl -- "\${(@P)2}"; }
      _files() { :; }
      words=(${quoted}); CURRENT=${line.length + 1}
      _hms_sys`;
    const { stdout, stderr } = spawnSync("zsh", ["-c", script], { env: env(), encoding: "utf8" });
    const shown = stdout
      .trim()
      .split("\n")
      .map((one) => one.split(":")[0]);
    expect(shown.sort(), stderr).toEqual([...found].sort());
  });
});
