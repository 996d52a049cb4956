import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { rolldown } from "rolldown";
import type { Platform } from "../platform.ts";
import type { Asked } from "./orders.ts";

const root = resolve(import.meta.dirname, "../../..");

const manifest = (name: string, command: string) => `name: ${name}
version: "1"
run:
  command: ${command}
routes:
  - path: /${name}
scaling:
  min: 1
  max: 1
`;

/** A program as one file: a replica sees nothing of the checkout. */
async function bundle(input: string): Promise<string> {
  const build = await rolldown({ input, platform: "node" });
  const { output } = await build.generate({ format: "esm", codeSplitting: false });
  await build.close();
  return output[0].code;
}

/** Deploys the Python service `ledger` and the TypeScript service `orders`; what a command says of it if it fails. */
export async function deployBoth(platform: Platform): Promise<void> {
  const source = (name: string) => join(import.meta.dirname, name);
  const ledger = platform.service("ledger", manifest("ledger", "exec python3 ledger.py"), {
    "ledger.py": readFileSync(source("ledger.py"), "utf8"),
  });
  cpSync(join(root, "sdks/python/hms_ffi"), join(dirname(ledger), "hms_ffi"), {
    recursive: true,
    filter: (file) => !file.endsWith("__pycache__"),
  });
  const orders = platform.service("orders", manifest("orders", "exec node orders.mjs"), {
    "orders.mjs": await bundle(source("orders.ts")),
  });
  const set = join(dirname(orders), "stock.binpb");
  execFileSync(join(root, "node_modules/.bin/buf"), [
    "build",
    import.meta.dirname,
    "--as-file-descriptor-set",
    "-o",
    set,
  ]);
  for (const file of [ledger, orders]) {
    const { code, stdout, stderr } = await platform.cli("deploy", file);
    if (code !== 0) throw new Error(`${file}: ${stdout}${stderr}`);
  }
}

/** What a program says came of what it was asked to do. */
export interface Said<T> {
  answer?: T;
  error?: { code: string; message: string };
}

/** Lets the program `ledger` or `orders` do something. */
export async function tell<T>(platform: Platform, program: string, asked: Asked): Promise<Said<T>> {
  const response = await fetch(platform.url(`/${program}`), { method: "POST", body: JSON.stringify(asked) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${program}, ${JSON.stringify(asked)}: ${response.status} ${text}`);
  return JSON.parse(text) as Said<T>;
}

/** The installation's config directory, and the operator's token in it. */
export function configOf(platform: Platform): { folder: string; token: string } {
  const folder = join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance);
  return { folder, token: readFileSync(join(folder, "operator.token"), "utf8").trim() };
}

/** Writes the installation's policies. */
export function writePolicies(platform: Platform, policies: object[]): void {
  const { folder } = configOf(platform);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "ffi-policies.json"), JSON.stringify(policies), { mode: 0o644 });
}

/** Gives people keys to the installation; what each shows as a token. */
export function writeKeys(platform: Platform, people: { id: string; roles: string[] }[]): Record<string, string> {
  const tokens = people.map(({ id }) => [id, randomBytes(32).toString("hex")] as const);
  const digest = (token: string) => createHash("sha256").update(token).digest("hex");
  const keys = people.map((one, at) => ({ ...one, kind: "user", token_sha256: digest(tokens[at]?.[1] ?? "") }));
  writeFileSync(join(configOf(platform).folder, "ffi-keys.json"), JSON.stringify(keys), { mode: 0o600 });
  return Object.fromEntries(tokens);
}

/** Ends the platform's server as a crash does, and waits until the next one answers. */
export async function killServer(platform: Platform): Promise<void> {
  process.kill(await platform.pidOf("server"), "SIGKILL");
  const { kernelSocket: path } = resolveInstance({ instance: platform.instance, data: platform.data });
  await using transport = connectSocket({ path, token: configOf(platform).token });
  const client = createClient(registry.RegistryService, transport);
  await waitFor(() => client.list({ pageSize: 1 }), { describe: "another server" });
}
