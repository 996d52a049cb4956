import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { explainLaunchFailure } from "./launch-failure.ts";

function facts(more: object) {
  return {
    command: "serve --now",
    exitCode: 127,
    lastErrorLine: "/bin/sh: 1: serve: not found",
    operatorPath: [],
    programPath: ["/usr/bin"],
    ...more,
  };
}

test("a program that is nowhere is named with the PATH that was searched", () => {
  expect(explainLaunchFailure(facts({ command: "exec PORT=1 serve" }))).toMatch(/PATH \(\/usr\/bin\): install it/);
  expect(explainLaunchFailure(facts({ command: "A=1 exec serve" }))).toContain('Nothing named "serve"');
});

test("a program that services cannot see is named with its place and the remedy", () => {
  const directory = mkdtempSync(`${tmpdir()}/hms-launch-failure-`);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/serve`, "#!/bin/sh\n");
  chmodSync(`${directory}/serve`, 0o755);
  const text = explainLaunchFailure(facts({ operatorPath: [directory] }));
  expect(text).toContain(
    `${directory}/serve exists, but it or what it needs lies in a directory that services cannot see`,
  );
  writeFileSync(`${directory}/serve`, "#!/no/such/shell -x\n");
  expect(explainLaunchFailure(facts({ operatorPath: [directory] }))).toContain(
    "its interpreter /no/such/shell is missing",
  );
});

test("a missing program behind other commands is told as the shell said it, without a wrong remedy", () => {
  const directory = mkdtempSync(`${tmpdir()}/hms-launch-failure-`);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const text = explainLaunchFailure(facts({ command: ". ./env.sh && serve", operatorPath: [directory] }));
  expect(text).toBe("The command could not be started: /bin/sh: 1: serve: not found.");
});

test("a program that may be executed but not read is explained without its interpreter", () => {
  const directory = mkdtempSync(`${tmpdir()}/hms-launch-failure-`);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/serve`, "#!/no/such/shell\n", { mode: 0o111 });
  const text = explainLaunchFailure(facts({ operatorPath: [directory] }));
  expect(text).toContain(`${directory}/serve exists, but`);
});

test("a file that is not executable gets the remedy for that", () => {
  const text = explainLaunchFailure(
    facts({ command: "./run.sh", exitCode: 126, lastErrorLine: "sh: 1: ./run.sh: Permission denied" }),
  );
  expect(text).toContain("chmod +x");
});

test("a program that started and chose such a code itself is not explained away", () => {
  expect(explainLaunchFailure(facts({ exitCode: 1 }))).toBe("");
  expect(explainLaunchFailure(facts({ lastErrorLine: "goodbye" }))).toBe("");
});
