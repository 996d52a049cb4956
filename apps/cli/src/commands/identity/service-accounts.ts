import { toJson } from "@bufbuild/protobuf";
import { identityKeys } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";
import { commaSeparated } from "./option-lists.ts";

const { ServiceAccountService, ServiceAccountSchema } = identityKeys;
const clientOf = ({ session }: Invocation) => identityClient(session(), ServiceAccountService);

/** Lists service accounts. */
export async function list(invocation: Invocation): Promise<number> {
  const { accounts } = await clientOf(invocation).listServiceAccounts({}, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: ServiceAccountSchema,
    messages: accounts,
    head: ["LOGIN", "STATE", "ROLES", "MADE", "CLIENT ID"],
    row: ({ login, active, roles, createdAt, accountId }) => [
      login,
      active ? "active" : "deactivated",
      roles.join(" "),
      humanAge(createdAt),
      accountId,
    ],
    none: "There is no service account. Make one: hms-sys service-accounts create LOGIN",
  });
  return ExitCode.OK;
}

/** Adds a service account and shows its client id and secret, once. */
export async function create(invocation: Invocation): Promise<number> {
  const { args, options, output, signal } = invocation;
  const displayName = typeof options.name === "string" ? options.name : "";
  const request = { login: args[0] ?? "", displayName, roles: commaSeparated(options.roles) };
  const { account, clientSecret } = await clientOf(invocation).createServiceAccount(request, { signal });
  if (output.json) output.document({ clientSecret, account: account && toJson(ServiceAccountSchema, account) });
  else output.result(`client id: ${account?.accountId}\nclient secret: ${clientSecret}`);
  output.note("The secret is not shown again.");
  return ExitCode.OK;
}

/** Gives a service account a new secret, in place of the one before. */
export async function rotate(invocation: Invocation): Promise<number> {
  const { args, output, signal } = invocation;
  const { clientSecret } = await clientOf(invocation).rotateClientSecret({ account: args[0] ?? "" }, { signal });
  if (output.json) output.document({ clientSecret });
  else output.result(clientSecret);
  output.note("It is not shown again; the one before has ended.");
  return ExitCode.OK;
}

/** Ends everything by which a service account comes in. */
export async function deactivate(invocation: Invocation): Promise<number> {
  const [account = ""] = invocation.args;
  await clientOf(invocation).deactivateServiceAccount({ account }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ deactivated: account });
  else invocation.output.note(`Deactivated ${account}.`);
  return ExitCode.OK;
}

/** Lets a service account in again. */
export async function activate(invocation: Invocation): Promise<number> {
  const [account = ""] = invocation.args;
  await clientOf(invocation).activateServiceAccount({ account }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ activated: account });
  else invocation.output.note(`Activated ${account}.`);
  return ExitCode.OK;
}
