import { toJson } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Makes the services of a stock gRPC server callable. */
export async function run({ args, options, globals, session, output, signal }: Invocation): Promise<number> {
  const [address = ""] = args;
  const names = typeof options.services === "string" ? options.services.split(",") : [];
  const version = typeof options.contractVersion === "string" ? options.contractVersion : "";
  const request = { address, environment: globals.environment, services: names, version };
  const { services } = await session().registry.registerForeign(request, { signal, timeoutMs: 30_000 });
  if (output.json) output.document(services.map((entry) => toJson(registry.ServiceEntrySchema, entry)));
  else for (const { serviceId, version: found } of services) output.result(`${serviceId} ${found}`);
  return ExitCode.OK;
}
