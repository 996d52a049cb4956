import { parseArgs } from "node:util";
import {
  assertEncryptedWays,
  hostEnvironment,
  type InstanceSelector,
  readNetwork,
  readNetworkAddress,
  resolveInstance,
} from "@hms/config";
import { openOutgoingFile } from "@hms/config-file";
import { HmsError } from "@hms/kernel";
import { type PlacementOptions, placeParts } from "@hms/parts";
import { createLogger, startTracing } from "@hms/telemetry";
import { openServer } from "./server.ts";

/** Named after its parts where it is not the whole server, so that logs that are gathered tell them apart. */
const log = createLogger(nameOf(process.argv));

/** How long running calls may take to end when the server is stopped. */
const CLOSE_PATIENCE_MS = 10_000;

/** What the server, or a process with some parts of the platform, is told on its command line. */
function readArguments(): InstanceSelector & PlacementOptions {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      instance: text,
      data: text,
      only: text,
      apart: text,
      listen: text,
      at: text,
      "tls-cert": text,
      "tls-key": text,
      "tls-ca": text,
      "part-key": text,
    },
  });
  const { "tls-cert": tlsCert, "tls-key": tlsKey, "tls-ca": tlsCa, "part-key": partKey, ...others } = values;
  return { ...others, tlsCert, tlsKey, tlsCa, partKey };
}

function nameOf(argv: readonly string[]): string {
  const only = argv.indexOf("--only");
  return only === -1 ? "server" : `server ${argv[only + 1]}`;
}

function fail(message: string, error: unknown): never {
  log.error(message, { error });
  process.exit(1);
}

process.on("uncaughtException", (error) => fail("an error reached nobody; the agent starts the server again", error));
process.on("unhandledRejection", (error) =>
  fail("a rejection reached nobody; the agent starts the server again", error),
);

try {
  const { instance, data, ...placing } = readArguments();
  const paths = resolveInstance({ instance, data });
  const placement = placeParts(placing, paths);
  const network = readNetwork(paths);
  if (network === undefined && placement.isServer) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${paths.data} has no network.json: the server is started by the agent (hms-sys up).`,
    );
  }
  const host = hostEnvironment();
  assertEncryptedWays(host, ["DATABASE_URL", "HMS_AUDIT_SINK", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
  const onFailure = (failure: HmsError) => log.error(`what may be connected to: ${failure.message}`);
  openOutgoingFile({ path: paths.outgoingFile, onFailure });
  const { databaseUrl, otlpEndpoint } = host;
  const tracing =
    otlpEndpoint === undefined
      ? undefined
      : await startTracing({
          serviceName: placement.isServer ? "hms-server" : `hms-${placement.process}`,
          endpoint: otlpEndpoint,
          headers: host.otlpHeaders,
        });
  const networkAddress = placement.isServer ? readNetworkAddress(paths) : undefined;
  const server = await openServer({ paths, network, databaseUrl, networkAddress, placement, log });
  log.info("serving", { parts: placement.here.join(", "), pid: process.pid });
  const stop = async () => {
    const late = setTimeout(() => process.exit(0), CLOSE_PATIENCE_MS);
    await server[Symbol.asyncDispose]();
    await tracing?.[Symbol.asyncDispose]();
    clearTimeout(late);
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
  // The terminal's Ctrl-C is for whoever has started this process.
  process.on("SIGINT", () => {});
} catch (error) {
  fail(HmsError.from(error).message, error);
}
