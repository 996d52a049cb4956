import { toJson } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { renderTable } from "../output/table.ts";

/** Lists services that can be called. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const { environment } = globals;
  const pattern = args[0] ?? "*";
  const services: registry.ServiceEntry[] = [];
  let pageToken = "";
  do {
    const page = await session().registry.list({ pattern, environment, pageSize: 1000, pageToken }, { signal });
    services.push(...page.services);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  if (output.json) {
    output.document(services.map((entry) => toJson(registry.ServiceEntrySchema, entry, { alwaysEmitImplicit: true })));
  } else if (services.length === 0) {
    output.note(
      `No service matches "${pattern}" in the environment "${environment}". Start one, or name another (--env).`,
    );
  } else {
    for (const line of renderTable(["SERVICE", "VERSION", "INSTANCES", "CONTRACT", "LABELS"], services.map(row))) {
      output.result(line);
    }
  }
  return ExitCode.OK;
}

function row({ serviceId, version, instances, hasContract, metadata }: registry.ServiceEntry): string[] {
  const available = instances.filter(({ state }) => state === registry.InstanceState.AVAILABLE).length;
  const labels = Object.entries(metadata).map(([name, value]) => `${name}=${value}`);
  return [serviceId, version, `${available}/${instances.length}`, hasContract ? "yes" : "untyped", labels.join(" ")];
}
