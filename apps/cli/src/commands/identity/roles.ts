import { identityRoles } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { presentList, presentOne } from "../../output/present.ts";
import { commaSeparated } from "./option-lists.ts";

const { RoleService, RoleSchema } = identityRoles;
const clientOf = ({ session }: Invocation) => identityClient(session(), RoleService);

/** Lists roles with their permissions. */
export async function list(invocation: Invocation): Promise<number> {
  const { roles } = await clientOf(invocation).listRoles({}, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: RoleSchema,
    messages: roles,
    head: ["ROLE", "PERMISSIONS", "DESCRIPTION"],
    row: ({ name, permissions, description }) => [name, permissions.join(" "), description],
    none: "There is no role.",
  });
  return ExitCode.OK;
}

/** Adds or changes a role. */
export async function put(invocation: Invocation): Promise<number> {
  const { args, options, output, signal } = invocation;
  const [name = "", ...permissions] = args;
  const description = typeof options.description === "string" ? options.description : "";
  const { role } = await clientOf(invocation).putRole({ name, permissions, description }, { signal });
  if (role) presentOne(output, RoleSchema, { message: role, lines: [`${role.name}: ${role.permissions.join(" ")}`] });
  return ExitCode.OK;
}

/** Removes a role. */
export async function remove(invocation: Invocation): Promise<number> {
  const [name = ""] = invocation.args;
  await clientOf(invocation).deleteRole({ name }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ removed: name });
  else invocation.output.note(`Removed ${name}.`);
  return ExitCode.OK;
}

/** Gives roles to somebody. */
export const assign = (invocation: Invocation) => change(invocation, "assignRoles");

/** Takes roles from somebody. */
export const unassign = (invocation: Invocation) => change(invocation, "unassignRoles");

async function change(invocation: Invocation, method: "assignRoles" | "unassignRoles"): Promise<number> {
  const { args, output, signal } = invocation;
  const [holder = "", ...names] = args;
  const { roles } = await clientOf(invocation)[method]({ holder, roles: names.flatMap(commaSeparated) }, { signal });
  if (output.json) output.document({ holder, roles });
  else output.result(`${holder}: ${roles.join(", ") || "no role"}`);
  return ExitCode.OK;
}
