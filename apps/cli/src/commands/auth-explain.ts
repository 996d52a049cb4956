import { toJson } from "@bufbuild/protobuf";
import { policy } from "@hms/contracts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** Says whether and why somebody may do something, as the platform decides it. */
export async function run({ args, options, globals, session, output, signal }: Invocation): Promise<number> {
  const [principal = "", action = "", resource = ""] = args;
  const roles = typeof options.roles === "string" ? options.roles.split(",") : [];
  const owner = typeof options.owner === "string" ? options.owner : "";
  const mfa = options.mfa === true;
  const { environment } = globals;
  const question = { principal, action, resource, roles, mfa, owner, environment };
  const answer = await session().policies.explainAccess(question, { signal });
  if (output.json) output.document(toJson(policy.ExplainAccessResponseSchema, answer, { alwaysEmitImplicit: true }));
  else for (const line of linesOf(answer)) output.result(line);
  return answer.allowed ? ExitCode.OK : ExitCode.ERROR;
}

function linesOf({ reason, roles, policies, changes, allowed }: policy.ExplainAccessResponse): string[] {
  const held = roles.length === 0 ? "no roles" : `the roles ${roles.join(", ")}`;
  const would = allowed || changes.length === 0 ? [] : [`It would be allowed ${changes.join(", or ")}.`];
  const deciding = policies.flatMap(({ policyId, cedar, description, author }) => [
    `  ${[policyId, description, author].filter((part) => part !== "").join(", ")}:`,
    `    ${cedar}`,
  ]);
  return [reason, `Decided with ${held}.`, ...would, ...deciding];
}
