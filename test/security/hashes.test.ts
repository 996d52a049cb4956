import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where a hash other than SHA-2 is asked for by another's format, and what for. */
const ASKED_FOR: Readonly<Record<string, string>> = {
  "apps/dataplane/src/limits/redis-link.ts": "Redis names its scripts by SHA-1 (EVALSHA)",
  "providers/pwned-passwords/src/pwned-passwords.ts": "lists of breached passwords are ordered by SHA-1",
  "services/identity/src/factors/totp.ts":
    "apps make codes by HMAC-SHA-1 (RFC 6238), which ASVS's appendix C still lists",
};

const OLD_HASH = /["'`](?:rsa-)?(?:md[45]|sha-?1|ripemd(?:160)?|rmd160)["'`]/i;

test("no hash but SHA-2 is used, except where the format of another asks for it", () => {
  const listed = execFileSync("git", ["ls-files", "*.ts", "*.js", "*.mjs", "*.py"], { cwd: root, encoding: "utf8" });
  const sources = listed.split("\n").filter((file) => /^(?:apps|packages|providers|sdks|services)\//.test(file));
  expect(sources.length).toBeGreaterThan(500);
  const production = sources.filter((file) => !/\.(?:i?test|faults|soak)\.ts$|\/(?:test|tests|testing)\//.test(file));
  const old = production.filter((file) => OLD_HASH.test(readFileSync(`${root}${file}`, "utf8")));
  expect(old.sort()).toEqual(Object.keys(ASKED_FOR).sort());
});
