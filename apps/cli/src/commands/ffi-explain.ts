import { ffiEnvironment } from "@hms/config";
import { createDirectCalls, type InstanceExplanation } from "@hms/direct-calls";
import { openDirectory } from "@hms/directory";
import { configuredSchemes } from "@hms/ffi/schemes";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { askedService } from "../ffi/service-contract.ts";
import { humanDuration } from "../output/human.ts";

/**
 * Says how a call to a service would go from here, without making one; with HMS_FFI_CONFIG_PATH, as a program goes that has
 * this file.
 */
export async function run({ args, globals, session, output }: Invocation): Promise<number> {
  const [service = ""] = args;
  const { registry, platform } = session();
  const schemes = configuredSchemes(ffiEnvironment().configPath);
  await using directory = openDirectory({ registry });
  await using calls = createDirectCalls({ directory, edge: platform, schemes });
  const key = askedService(service, globals.environment);
  const explanation = await calls.explain(key);
  if (output.json) output.document({ ...key, ...explanation });
  else {
    output.result(`${key.serviceId} ${key.version} in ${key.environment}: ${explanation.path}. ${explanation.why}`);
    for (const line of explanation.instances.flatMap(instanceLines)) output.result(line);
  }
  return ExitCode.OK;
}

const CODECS = {
  none: "no codec",
  json: "JSON",
  protobuf: "protobuf, or JSON if the callee has no protobuf",
};

function instanceLines({ instanceId, addresses, codec, ticketMs, methods }: InstanceExplanation): string[] {
  const ticket =
    ticketMs === undefined ? "no ticket" : `a ticket for ${methods.join(", ")}, ${humanDuration(ticketMs)} left`;
  return [
    `  instance ${instanceId}: ${CODECS[codec ?? "none"]}, ${ticket}`,
    ...addresses.map(({ address, chosen, why }) => `    ${chosen ? "→" : " "} ${address}: ${why}`),
  ];
}
