import { toJson } from "@bufbuild/protobuf";
import { identityClients } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";
import { commaSeparated } from "./option-lists.ts";

const { ClientService, ClientSchema } = identityClients;
const clientOf = ({ session }: Invocation) => identityClient(session(), ClientService);

/** Lists applications that sign people in. */
export async function list(invocation: Invocation): Promise<number> {
  const { clients } = await clientOf(invocation).listClients({}, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: ClientSchema,
    messages: clients,
    head: ["NAME", "CLIENT ID", "KEEPS A SECRET", "MAY ASK FOR", "REDIRECTS TO", "MADE"],
    row: ({ name, clientId, confidential, scopes, redirectUris, createdAt }) => [
      name,
      clientId,
      confidential ? "yes" : "no",
      scopes.join(" ") || "who they are",
      redirectUris.join(" "),
      humanAge(createdAt),
    ],
    none: "No application signs people in. Register one: hms-sys clients create NAME --redirect ADDRESS",
  });
  return ExitCode.OK;
}

/** Registers an application, and shows its secret, once. */
export async function create(invocation: Invocation): Promise<number> {
  const { args, options, output, signal } = invocation;
  const confidential = options.public !== true;
  const scopes = commaSeparated(options.scopes);
  const request = { name: args[0] ?? "", redirectUris: commaSeparated(options.redirect), confidential, scopes };
  const { client, clientSecret } = await clientOf(invocation).createClient(request, { signal });
  if (output.json) output.document({ clientSecret, client: client && toJson(ClientSchema, client) });
  else output.result(`client id: ${client?.clientId}${confidential ? `\nclient secret: ${clientSecret}` : ""}`);
  if (confidential) output.note("The secret is not shown again.");
  return ExitCode.OK;
}

/** Removes an application; what people allowed it ends. */
export async function remove(invocation: Invocation): Promise<number> {
  const [clientId = ""] = invocation.args;
  await clientOf(invocation).deleteClient({ clientId }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ removed: clientId });
  else invocation.output.note(`Removed ${clientId}.`);
  return ExitCode.OK;
}
