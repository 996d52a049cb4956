import { identitySessions } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { presentOne } from "../../output/present.ts";

/** Says who the caller is. */
export async function run({ session, output, signal }: Invocation): Promise<number> {
  const message = await identityClient(session(), identitySessions.SessionService).whoAmI({}, { signal });
  const { principal, login, roles, permissions, scopes } = message;
  const lines = [
    login === "" ? principal : `${login} (${principal})`,
    `roles: ${roles.join(", ") || "none"}`,
    `permissions: ${permissions.join(", ") || "none"}`,
    ...(scopes.length === 0 ? [] : [`limited to: ${scopes.join(", ")}`]),
  ];
  presentOne(output, identitySessions.WhoAmIResponseSchema, { message, lines });
  return ExitCode.OK;
}
