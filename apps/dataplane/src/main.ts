import { readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { createLogger } from "@hms/telemetry";
import { DataPlane } from "./data-plane.ts";

const log = createLogger("dataplane");

function fail(message: string, error: unknown): never {
  log.error(message, { error });
  process.exit(1);
}

process.on("uncaughtException", (error) =>
  fail("an error reached nobody; the agent starts the data plane again", error),
);
process.on("unhandledRejection", (error) =>
  fail("a rejection reached nobody; the agent starts the data plane again", error),
);
try {
  const paths = resolveInstance();
  const network = readNetwork(paths);
  if (network === undefined) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${paths.data} has no network.json: the data plane is started by the agent (hms-sys up).`,
    );
  }
  const plane = new DataPlane({ paths, network, log });
  process.on("disconnect", () => {
    // Noted, the next agent finds it; before that nobody would ever end it.
    if (plane.isKept) log.warn("the agent has gone; serving goes on");
    else fail("the agent has gone before it noted this process", undefined);
  });
  await plane.start();
  log.info("serving", { gateway: network.gatewayPort, pid: process.pid });
  const stop = (patient: boolean) => void plane.stop(patient).then(() => process.exit(0));
  process.once("SIGTERM", () => stop(true));
  process.once("SIGINT", () => stop(false));
} catch (error) {
  fail(HmsError.from(error).message, error);
}
