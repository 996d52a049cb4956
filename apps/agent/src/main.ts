import { parseArgs } from "node:util";
import { parseRoutesDefaultAuth, readPartNames, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel";
import { createLogger } from "@hms/telemetry";
import { openAgent } from "./agent.ts";

/** The exit code that says that another agent has the installation. */
const HELD_BY_ANOTHER = 6;

const log = createLogger("agent");

process.on("uncaughtException", (error) => {
  log.error("an error reached nobody; what runs goes on, and the next agent adopts it", { error });
  process.exit(1);
});
process.on("unhandledRejection", (error) => log.error("a rejection reached nobody", { error }));
// The terminal's Ctrl-C is for `up`, which asks for an orderly end.
process.on("SIGINT", () => {});
process.on("SIGHUP", () => {});

try {
  const text = { type: "string" } as const;
  const places = { "http-listen": text, "https-listen": text, "routes-default-auth": text };
  const options = { instance: text, data: text, port: text, apart: text, listen: text, ...places };
  const { values } = parseArgs({ options });
  const gatewayPort = values.port === undefined ? undefined : Number(values.port);
  const apart = values.apart === undefined ? undefined : readPartNames("--apart", values.apart);
  const gatewayListen = { http: values["http-listen"], https: values["https-listen"] };
  const auth = values["routes-default-auth"];
  const routesDefaultAuth = auth === undefined ? undefined : parseRoutesDefaultAuth("--routes-default-auth", auth);
  const paths = resolveInstance(values);
  const agent = await openAgent({
    paths,
    gatewayPort,
    apart,
    listen: values.listen,
    gatewayListen,
    routesDefaultAuth,
    log,
  });
  process.once("SIGTERM", () => void agent.shutdown());
  await agent.ended;
  process.exit(0);
} catch (error) {
  const { code, message } = HmsError.from(error);
  log.error(message, { error });
  process.exit(code === "ABORTED" ? HELD_BY_ANOTHER : 1);
}
