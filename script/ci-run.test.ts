import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";

/** Runs `.ci/run` where `npm test` is one script and `npm run test:faults` another. */
function ciRun(npmTest: string, faults = "exit 0"): { code: number | null; lines: string[] } {
  const folder = mkdtempSync(join(tmpdir(), "hms-ci-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "npm"), `#!/bin/sh\nif [ "$1" = test ]; then ${npmTest}; else ${faults}; fi\n`, {
    mode: 0o755,
  });
  const env = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` };
  const { status, stdout } = spawnSync(resolve(import.meta.dirname, "../.ci/run"), { env, encoding: "utf8" });
  return { code: status, lines: stdout.trimEnd().split("\n") };
}

const run = (counts: string) => `echo "${counts}" >> "$HMS_TEST_COUNTS"`;

test("the last line counts the tests of all runs", () => {
  const { code, lines } = ciRun(`${run("300 0")}; ${run("42 0")}; echo done`, run("8 0"));
  expect({ code, last: lines.at(-1) }).toEqual({ code: 0, last: "350 passed, 0 failed" });
});

test("it is there when tests fail, with the exit code of the tests", () => {
  const { code, lines } = ciRun(`${run("298 2")}; exit 3`);
  expect({ code, last: lines.at(-1) }).toEqual({ code: 3, last: "298 passed, 2 failed" });
});

test("the suite of faults runs whether or not `npm test` passed, and its failures count", () => {
  expect(ciRun(`${run("300 0")}; exit 0`, `${run("8 1")}; exit 1`)).toMatchObject({ code: 1 });
  expect(ciRun(`${run("299 1")}; exit 1`, run("9 0")).lines.at(-1)).toBe("308 passed, 1 failed");
});

test("a check that fails without a test failing counts as one, also if no test ran", () => {
  expect(ciRun(`${run("300 0")}; exit 1`).lines.at(-1)).toBe("300 passed, 1 failed");
  expect(ciRun("exit 1").lines.at(-1)).toBe("0 passed, 1 failed");
});
