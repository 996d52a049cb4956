import { flushCompileCache } from "node:module";
import { openOutgoingFile } from "@hms/config-file";
import { HmsError } from "@hms/kernel/errors";
import { createLogger } from "@hms/telemetry";
import { compactHeap } from "./compact-heap.ts";
import { DataPlane } from "./data-plane.ts";
import { readSettings } from "./settings.ts";

const log = createLogger("dataplane");

function fail(message: string, error?: unknown): never {
  log.error(message, error === undefined ? {} : { error });
  process.exit(1);
}

process.on("uncaughtException", (error) =>
  fail("an error reached nobody; the agent starts the data plane again", error),
);
process.on("unhandledRejection", (error) =>
  fail("a rejection reached nobody; the agent starts the data plane again", error),
);
try {
  const settings = readSettings();
  const onFailure = (failure: HmsError) => log.error(`what may be connected to: ${failure.message}`);
  openOutgoingFile({ path: settings.paths.outgoingFile, onFailure });
  const plane = new DataPlane({ ...settings, log });
  process.on("disconnect", () => {
    // Noted, the next agent finds it; before that nobody would ever end it.
    if (plane.isKept) log.warn("the agent has gone; serving goes on");
    else fail("the agent has gone before it noted this process");
  });
  process.once("SIGTERM", () => {
    log.info("retiring: what runs is finished, nothing new is accepted");
    plane.stop().then(
      () => process.exit(0),
      (error) => fail("retiring failed", error),
    );
  });
  compactHeap();
  await plane.start();
  log.info("serving", {
    pid: process.pid,
    gateway: settings.network.gatewayPort,
    snapshot: String(plane.version),
    startedInMs: Math.round(performance.now()),
  });
  // A killed process writes no cache; the next one starts twice as fast with it.
  flushCompileCache();
} catch (error) {
  fail(HmsError.from(error).message, error);
}
