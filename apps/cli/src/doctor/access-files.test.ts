import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { accessFiles } from "./access-files.ts";

function files(policies: string | undefined, keys: string | undefined, keyMode = 0o600) {
  const folder = mkdtempSync(join(tmpdir(), "hms-doctor-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const paths = { policyFile: join(folder, "ffi-policies.json"), keyFile: join(folder, "ffi-keys.json") };
  if (policies !== undefined) writeFileSync(paths.policyFile, policies, { mode: 0o600 });
  if (keys !== undefined) writeFileSync(paths.keyFile, keys, { mode: keyMode });
  return paths;
}

test("policy and key files that are not there, or right, are fine", () => {
  const right = '[{"service": "demo.*", "allowed_roles": ["teller"]}]';
  for (const paths of [files(undefined, undefined), files(right, "[]")]) {
    expect(accessFiles(paths).map(({ level }) => level)).toEqual(["ok", "ok"]);
  }
});

test("a policy file with a mistake is a problem, told with its place", () => {
  const [policies] = accessFiles(files('[{"service": "demo.*", "allowd_roles": ["teller"]}]', undefined));
  expect(policies).toMatchObject({ level: "problem", finding: expect.stringContaining("did you mean allowed_roles") });
  expect(policies?.finding).toMatch(/ 1:24 /);
});

test("a key file that others may read is a problem, with the command that mends it", () => {
  const paths = files(undefined, "[]", 0o644);
  expect(accessFiles(paths)[1]).toMatchObject({
    level: "problem",
    finding: expect.stringContaining(`chmod 600 ${paths.keyFile}`),
  });
});
