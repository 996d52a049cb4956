import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readRoutesDefaultAuth, writeRoutesDefaultAuth } from "./routes-default-auth.ts";

test("it is public until it is said otherwise, and nothing at all while it cannot be read", () => {
  const data = mkdtempSync(join(tmpdir(), "hms-config-"));
  onTestFinished(() => rmSync(data, { recursive: true }));
  expect(readRoutesDefaultAuth({ data })).toBe("public");
  writeRoutesDefaultAuth({ data }, "required");
  expect(readRoutesDefaultAuth({ data })).toBe("required");
  writeFileSync(join(data, "routes-default-auth.txt"), "open\n");
  expect(() => readRoutesDefaultAuth({ data })).toThrow('public or required; not "open".');
});
