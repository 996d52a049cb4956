import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { deployment } from "@hms/contracts";

/** What a preview is and until when, in one sentence. */
export function previewWords({ environment, baseEnvironment, expiresAt }: deployment.Preview): string {
  const until = expiresAt ? timestampDate(expiresAt).toISOString() : "further notice";
  return `Preview ${environment} of ${baseEnvironment} until ${until}`;
}
