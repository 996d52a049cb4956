import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { deployment } from "@hms/contracts";

/** Where deploys are refused, until when. */
export function freezeWords({ environment, service, until }: deployment.DeployFreeze): string {
  const what = service === "" ? `everything in ${environment}` : `${service} in ${environment}`;
  return `No deploys of ${what} until ${until ? timestampDate(until).toISOString() : "further notice"}`;
}
