import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeCheckout } from "../system/checkouts.ts";
import { runCommand } from "../system/platform.ts";

const home = mkdtempSync(join(tmpdir(), "hms-clones-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

test("two bootstraps of a fresh clone at once end with one whole installation, from the real registry", async () => {
  const folder = makeCheckout(join(home, "fresh"), { ready: false });
  const began = performance.now();
  const results = await Promise.all(
    [1, 2].map(() => runCommand(["sh", "script/bootstrap"], process.env, { cwd: folder })),
  );
  console.log(`two bootstraps at once: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  expect(results.map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual([0, 0]);
  expect(results.filter(({ stderr }) => stderr.includes("Installing dependencies"))).toHaveLength(1);
  for (const path of [
    "node_modules/.bin/vitest",
    "node_modules/node/bin/node",
    "examples/receipt/node_modules/fastify",
  ]) {
    expect(existsSync(join(folder, path)), path).toBe(true);
  }
  const version = await runCommand([join(folder, "hms-sys"), "--version"], process.env);
  expect(version).toMatchObject({ code: 0 });
}, 600_000);
