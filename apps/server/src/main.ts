import { hostEnvironment, readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel";
import { createLogger, startTracing } from "@hms/telemetry";
import { openServer } from "./server.ts";

const log = createLogger("server");

/** How long running calls may take to end when the server is stopped. */
const CLOSE_PATIENCE_MS = 10_000;

function fail(message: string, error: unknown): never {
  log.error(message, { error });
  process.exit(1);
}

process.on("uncaughtException", (error) => fail("an error reached nobody; the agent starts the server again", error));
process.on("unhandledRejection", (error) =>
  fail("a rejection reached nobody; the agent starts the server again", error),
);

try {
  const paths = resolveInstance();
  const network = readNetwork(paths);
  if (network === undefined) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${paths.data} has no network.json: the server is started by the agent (hms-sys up).`,
    );
  }
  const { databaseUrl, otlpEndpoint, otlpHeaders } = hostEnvironment();
  const tracing =
    otlpEndpoint === undefined
      ? undefined
      : await startTracing({ serviceName: "hms-server", endpoint: otlpEndpoint, headers: otlpHeaders });
  const server = await openServer({ paths, network, databaseUrl, log });
  log.info("serving", { socket: paths.kernelSocket, pid: process.pid });
  const stop = async () => {
    const late = setTimeout(() => process.exit(0), CLOSE_PATIENCE_MS);
    await server[Symbol.asyncDispose]();
    await tracing?.[Symbol.asyncDispose]();
    clearTimeout(late);
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
} catch (error) {
  fail(HmsError.from(error).message, error);
}
