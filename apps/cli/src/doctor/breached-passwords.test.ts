import { writeFileSync } from "node:fs";
import { tempFolder } from "@hms/testkit";
import { expect, onTestFinished, test } from "vitest";
import { breachedPasswords } from "./breached-passwords.ts";

test("no list of breached passwords is fine, one that cannot be used a problem that says why and what to do", async () => {
  const folder = tempFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const passwordFile = `${folder.path}/passwords.json`;
  const list = `${folder.path}/pwned.txt`;
  expect(await breachedPasswords({ passwordFile })).toMatchObject({
    level: "ok",
    finding: expect.stringContaining("no list"),
  });
  writeFileSync(passwordFile, JSON.stringify({ breached_passwords: list }), { mode: 0o600 });
  expect(await breachedPasswords({ passwordFile })).toMatchObject({
    level: "problem",
    finding: expect.stringMatching(/pwned\.txt, cannot be used: it is not there.*fetch it again/),
    remedy: expect.stringContaining(passwordFile),
  });
  writeFileSync(list, `${"A".repeat(40)}:3\n${"B".repeat(40)}:1\n`);
  expect(await breachedPasswords({ passwordFile })).toEqual({
    check: "breached passwords",
    level: "ok",
    finding: `${list}, a file, 86 B`,
  });
});
