import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { runCommand } from "./system/platform.ts";

const root = resolve(import.meta.dirname, "..");

// Too dear for the fast check: the code generator takes some seconds of processor time.
test("the contracts' code is what proto/ yields, and proto/ keeps what main promised last", async () => {
  const script = join(root, "script/check-contracts.ts");
  expect(await runCommand([process.execPath, script], process.env, { cwd: root })).toEqual({
    code: 0,
    stdout: "",
    stderr: "",
  });
}, 120_000);
