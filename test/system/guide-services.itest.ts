import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { configOf } from "./ffi-services/deployed.ts";
import { type Platform, runCommand, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/guide/services-calling-each-other.md"), "utf8");

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(() => platform?.[Symbol.asyncDispose](), 60_000);

/** A text of the page with the places of this installation in it. */
const here = (text: string) =>
  text
    .replaceAll("~/.config/hms-sys/default", configOf(platform).folder)
    .replaceAll("http://127.0.0.1:3000", platform.url(""))
    .replaceAll("~", dirname(platform.data));

function commands(): string[] {
  return [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => here(block));
}

/** Writes each file whose name stands before a block. */
function writeFiles(): void {
  for (const [, name = "", text = ""] of page.matchAll(
    /^`(~\/\S+)`[\s\S]*?```(?:python|js|yaml|json)\n([\s\S]*?)```/gm,
  )) {
    const path = here(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: 0o644 });
  }
}

async function sh(script: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand(["sh", "-ec", `cd '${root}'\n${script}`], platform.env);
  if (code !== 0) throw new Error(`${script} exited ${code}: ${stdout}${stderr}`);
  return stdout;
}

test("the guide's two programs call each other as pasted", { timeout: 120_000 }, async () => {
  const [copy = "", deploy = "", call = ""] = commands();
  await sh(copy);
  writeFiles();
  const listed = await sh(deploy);
  expect(listed).toContain("demo.shop");
  expect(listed).toContain("demo.stock");
  await waitFor(() => sh(`./hms-sys ffi describe demo.shop`), { describe: "the shop's contract" });
  const answers = await sh(call);
  expect(answers).toContain("500");
  expect(JSON.parse(answers.slice(answers.lastIndexOf("{")))).toEqual({
    cents: 750,
    left: 5,
    for: "service:default/shop",
  });
});
