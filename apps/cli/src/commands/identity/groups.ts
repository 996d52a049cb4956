import { identityRoles } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { presentList, presentOne } from "../../output/present.ts";
import { commaSeparated } from "./option-lists.ts";

const { GroupService, GroupSchema } = identityRoles;
const clientOf = ({ session }: Invocation) => identityClient(session(), GroupService);

function present({ output }: Invocation, group: identityRoles.Group | undefined): number {
  if (group === undefined) return ExitCode.ERROR;
  const { name, members, roles } = group;
  const lines = [`${name}: ${members.join(", ") || "nobody"}; roles: ${roles.join(", ") || "none"}`];
  presentOne(output, GroupSchema, { message: group, lines });
  return ExitCode.OK;
}

/** Lists groups with their members and roles. */
export async function list(invocation: Invocation): Promise<number> {
  const { groups } = await clientOf(invocation).listGroups({}, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: GroupSchema,
    messages: groups,
    head: ["GROUP", "MEMBERS", "ROLES", "DESCRIPTION"],
    row: ({ name, members, roles, description }) => [name, members.join(" "), roles.join(" "), description],
    none: "There is no group. Make one: hms-sys groups put NAME",
  });
  return ExitCode.OK;
}

/** Adds a group, or changes its description. */
export async function put(invocation: Invocation): Promise<number> {
  const { args, options, signal } = invocation;
  const description = typeof options.description === "string" ? options.description : "";
  const { group } = await clientOf(invocation).putGroup({ name: args[0] ?? "", description }, { signal });
  return present(invocation, group);
}

/** Removes a group; its members lose its roles. */
export async function remove(invocation: Invocation): Promise<number> {
  const [name = ""] = invocation.args;
  await clientOf(invocation).deleteGroup({ name }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ removed: name });
  else invocation.output.note(`Removed ${name}.`);
  return ExitCode.OK;
}

/** Adds members to a group. */
export const add = (invocation: Invocation) => change(invocation, "addGroupMembers");

/** Takes members out of a group. */
export const take = (invocation: Invocation) => change(invocation, "removeGroupMembers");

async function change(invocation: Invocation, method: "addGroupMembers" | "removeGroupMembers"): Promise<number> {
  const { args, signal } = invocation;
  const [name = "", ...members] = args;
  const { group } = await clientOf(invocation)[method]({ name, members: members.flatMap(commaSeparated) }, { signal });
  return present(invocation, group);
}
