import { toJson } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { healthWord } from "../output/health.ts";
import { enumWord, humanAge } from "../output/human.ts";
import { renderTable } from "../output/table.ts";

/** Lists services with health, replicas and addresses. */
export async function run({ options, globals, session, output, signal }: Invocation): Promise<number> {
  const environment = options.allEnvironments === true ? "" : globals.environment;
  const services: deployment.ServiceSummary[] = [];
  let pageToken = "";
  do {
    const page = await session().deployments.listServices({ environment, pageSize: 200, pageToken }, { signal });
    services.push(...page.services);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  if (output.json) {
    output.document(
      services.map((service) => toJson(deployment.ServiceSummarySchema, service, { alwaysEmitImplicit: true })),
    );
  } else if (services.length === 0) {
    output.note("No service yet. Deploy one: hms-sys deploy FILE.hms.yml");
  } else {
    const rows = services.map((service) => row(service, output.paint));
    for (const line of renderTable(
      ["SERVICE", "ENV", "HEALTH", "READY", "REVISION", "VERSION", "DEPLOYED", "URL"],
      rows,
    ))
      output.result(line);
  }
  return ExitCode.OK;
}

function row(service: deployment.ServiceSummary, paint: Invocation["output"]["paint"]): string[] {
  const rolling = service.rolloutId === "" ? "" : ` (${enumWord(deployment.RolloutState, service.rolloutState)})`;
  return [
    service.name,
    service.environment,
    `${healthWord(service.health, paint)}${rolling}`,
    `${service.replicasReady}/${service.replicasWanted}`,
    String(service.revision),
    service.version,
    humanAge(service.deployedAt),
    service.urls[0] ?? "",
  ];
}
