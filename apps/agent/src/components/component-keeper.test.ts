import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { createLogger } from "@hms/telemetry";
import { expect, onTestFinished, test } from "vitest";
import { running, uniqueSeconds, until } from "../../test/support/test-machine.ts";
import { ComponentKeeper } from "./component-keeper.ts";
import type { ComponentSpec } from "./component-spec.ts";

function keeperOf(seconds: string, more: Partial<ComponentSpec>): ComponentKeeper {
  const directory = mkdtempSync(`${tmpdir()}/hms-component-`);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return new ComponentKeeper(
    {
      name: "server",
      command: () => ({ argv: ["sleep", seconds], env: process.env, cwd: directory }),
      stopSignal: "SIGTERM",
      stopGraceMs: 1000,
      isReady: async () => true,
      ...more,
    },
    { noteFile: `${directory}/note.json`, logFile: `${directory}/log`, log: createLogger("test") },
  );
}

test("a component that is stopped while it is being launched is ended, and the stop resolves", async () => {
  const seconds = uniqueSeconds();
  const prepared = Promise.withResolvers<void>();
  const keeper = keeperOf(seconds, { prepare: () => prepared.promise });
  keeper.start();
  const stopped = keeper.stop();
  prepared.resolve();
  await stopped;
  expect(running(seconds)).toBe(0);
});

test("a component that is stopped while a successor is being awaited leaves neither of them behind", async () => {
  const seconds = uniqueSeconds();
  const never = new Promise<void>(() => {});
  const listeners = { attach: () => never, confirm: () => {}, close: () => {} };
  const keeper = keeperOf(seconds, { listeners: listeners as unknown as NonNullable<ComponentSpec["listeners"]> });
  keeper.start();
  await until(() => running(seconds) === 1, "the first");
  const restarted = expect(keeper.restart()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await until(() => running(seconds) === 2, "the successor");
  await keeper.stop();
  expect(running(seconds)).toBe(0);
  await restarted;
});
