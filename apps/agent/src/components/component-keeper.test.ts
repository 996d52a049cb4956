import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { createLogger } from "@hms/telemetry";
import { expect, onTestFinished, test } from "vitest";
import { running, uniqueSeconds } from "../../test/support/test-machine.ts";
import { ComponentKeeper } from "./component-keeper.ts";

test("a component that is stopped while it is being launched is ended, and the stop resolves", async () => {
  const directory = mkdtempSync(`${tmpdir()}/hms-component-`);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const seconds = uniqueSeconds();
  const prepared = Promise.withResolvers<void>();
  const keeper = new ComponentKeeper(
    {
      name: "postgres",
      prepare: () => prepared.promise,
      command: () => ({ argv: ["sleep", seconds], env: process.env, cwd: directory }),
      stopSignal: "SIGTERM",
      stopGraceMs: 1000,
      isReady: async () => true,
    },
    { noteFile: `${directory}/note.json`, logFile: `${directory}/log`, log: createLogger("test") },
  );
  keeper.start();
  const stopped = keeper.stop();
  prepared.resolve();
  await stopped;
  expect(running(seconds)).toBe(0);
});
