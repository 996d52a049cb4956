import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { tempFolder, waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { buildTypescriptSdk } from "../../script/build-typescript-sdk.ts";

const root = resolve(import.meta.dirname, "../..");

/** Every Node in PATH of another version than this one: on most machines the system's own. */
function otherNodes(): string[] {
  const found = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "node"));
  const versions = new Map<string, string>();
  for (const path of found.filter((one) => existsSync(one))) {
    const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
    const major = stdout.trim().split(".")[0] ?? "";
    if (major !== process.version.split(".")[0] && !versions.has(major)) versions.set(major, path);
  }
  return [...versions.values()];
}
const node20 = otherNodes().find((path) =>
  spawnSync(path, ["--version"], { encoding: "utf8" }).stdout.startsWith("v20."),
);

const PROGRAM = `
import { Client, NotFoundError, serve } from "@hms/ffi";
const [role, address] = process.argv.slice(2);
if (role === "serve") {
  const service = await serve({
    serviceId: "demo.greeter",
    listen: address,
    register: false,
    timeoutMs: 5000,
    methods: {
      Greet({ name }) {
        if (name === "") throw new NotFoundError("Nobody.");
        return { text: "Hello " + name };
      },
      async *Count({ to }) { for (let n = 1; n <= to; n++) yield { n }; },
    },
  });
  process.once("SIGTERM", () => service.close());
} else {
  const client = new Client("demo.greeter", { address });
  console.log((await client.call("Greet", { name: "Ada" }, { timeoutMs: 5000 })).text);
  for await (const { n } of client.stream("Count", { to: 3 })) console.log(n);
  await client.call("Greet", { name: "" }).catch((error) => console.log(error instanceof NotFoundError, error.message));
  await client.close();
}
`;

const TYPED = `
import { Client, createClient, Events, serve, type ServedService } from "@hms/ffi";
const client = new Client("demo.greeter", { address: "unix:/x" });
export const answer: Promise<{ text: string }> = client.call<{ text: string }>("Greet", { name: "Ada" }, { timeoutMs: 1 });
export const served: Promise<ServedService> = serve({ serviceId: "a.b", methods: { Get: () => ({}) } });
export const made = createClient;
export const events = Events;
// @ts-expect-error: options are checked
new Client("demo.greeter", { adress: "unix:/x" });
`;

const stack = new AsyncDisposableStack();
let folder = "";
const inFolder = (name: string) => join(folder, name);
const running: ChildProcess[] = [];

function run([program = "", ...args]: string[]): void {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} exited ${status}: ${stdout}${stderr}`);
}

beforeAll(async () => {
  const built = stack.use(tempFolder()).path;
  folder = stack.use(tempFolder()).path;
  await buildTypescriptSdk(join(built, "dist"));
  run(["npm", "pack", "--silent", join(built, "dist"), "--pack-destination", folder]);
  const archive = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
  writeFileSync(inFolder("package.json"), '{"private": true, "type": "module"}');
  run(["npm", "install", "--silent", "--prefer-offline", "--no-audit", "--no-fund", archive]);
  writeFileSync(inFolder("program.js"), PROGRAM);
}, 180_000);
afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});
afterAll(() => stack.disposeAsync());

test("the package to be published needs no package of ours, and no other than it says", () => {
  const { dependencies, engines } = JSON.parse(readFileSync(inFolder("node_modules/@hms/ffi/package.json"), "utf8"));
  expect(Object.keys(dependencies)).toEqual([
    "@bufbuild/protobuf",
    "@bufbuild/protovalidate",
    "@bufbuild/re2",
    "@opentelemetry/api",
    "yaml",
  ]);
  expect(engines).toEqual({ node: ">=20" });
  expect(readdirSync(inFolder("node_modules")).sort()).toEqual(
    [".package-lock.json", "@bufbuild", "@hms", "@opentelemetry", "yaml"]
      .concat(existsSync(inFolder("node_modules/.bin")) ? [".bin"] : [])
      .sort(),
  );
  expect(readdirSync(inFolder("node_modules/@hms"))).toEqual(["ffi"]);
});

test("it uses nothing that Node 20 lacks", () => {
  const module = readFileSync(inFolder("node_modules/@hms/ffi/index.js"), "utf8");
  const newer =
    /\b(?:Promise\.(?:withResolvers|try)|(?:Map|Object)\.groupBy|Array\.fromAsync|Iterator\.from|RegExp\.escape|Error\.isError|Uint8Array\.from(?:Base64|Hex))\(|\.(?:isSubsetOf|isSupersetOf|isDisjointFrom|symmetricDifference|toBase64|toHex)\(|^\s*(?:await )?using \w/gm;
  expect(module.match(newer) ?? []).toEqual([]);
});

test("its declarations stand alone, also where libraries are checked", () => {
  writeFileSync(inFolder("typed.ts"), TYPED);
  mkdirSync(inFolder("node_modules/@types"), { recursive: true });
  symlinkSync(join(root, "node_modules/@types/node"), inFolder("node_modules/@types/node"));
  const compilerOptions = {
    ...{ strict: true, noEmit: true, target: "es2024", lib: ["es2024", "esnext.disposable"], module: "nodenext" },
    ...{ types: ["node"], skipLibCheck: false, exactOptionalPropertyTypes: true },
  };
  writeFileSync(inFolder("tsconfig.json"), JSON.stringify({ compilerOptions, include: ["typed.ts"] }));
  const { status, stdout } = spawnSync("tsc", ["-p", folder], { encoding: "utf8" });
  expect([status, stdout]).toEqual([0, ""]);
}, 60_000);

describe.each([
  ["this Node", process.execPath],
  ["Node 20, where it is in PATH", node20],
] as const)("with %s, from an empty folder, in plain JavaScript", (name, node) => {
  test.skipIf(node === undefined)(
    "a service is offered and called",
    async () => {
      const address = `unix:${inFolder(`${name.replace(/\W+/g, "-")}.sock`)}`;
      const service = spawn(node as string, ["program.js", "serve", address], { cwd: folder });
      running.push(service);
      let said = "";
      service.stderr.on("data", (text) => (said += text));
      const socket = address.slice("unix:".length);
      await waitFor(() => existsSync(socket), { deadlineMs: 20_000, describe: () => `a socket; it said: ${said}` });
      const called = spawnSync(node as string, ["program.js", "call", address], { cwd: folder, encoding: "utf8" });
      expect([called.stdout, called.stderr]).toEqual(["Hello Ada\n1\n2\n3\ntrue Nobody.\n", ""]);
      const ended = new Promise<number | null>((done) => service.once("exit", (code) => done(code)));
      service.kill("SIGTERM");
      expect([await ended, said]).toEqual([0, ""]);
    },
    60_000,
  );
});
