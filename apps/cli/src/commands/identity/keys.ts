import { toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { identityKeys } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";
import { parseDuration } from "../../parse-option.ts";
import { commaSeparated } from "./option-lists.ts";

const { KeyService, ApiKeySchema } = identityKeys;
const clientOf = ({ session }: Invocation) => identityClient(session(), KeyService);
const userOf = ({ options }: Invocation) => (typeof options.user === "string" ? options.user : "");

/** Makes a key and shows it, once. */
export async function create(invocation: Invocation): Promise<number> {
  const { args, options, output, signal } = invocation;
  const lifetime =
    typeof options.for === "string" ? { lifetime: durationFromMs(parseDuration("--for", options.for)) } : {};
  const request = {
    name: args[0] ?? "",
    user: userOf(invocation),
    scopes: commaSeparated(options.scopes),
    ...lifetime,
  };
  const { key, secret } = await clientOf(invocation).createKey(request, { signal });
  if (output.json) output.document({ secret, key: key && toJson(ApiKeySchema, key) });
  else output.result(secret);
  output.note("It is not shown again.");
  return ExitCode.OK;
}

/** Lists keys. */
export async function list(invocation: Invocation): Promise<number> {
  const { keys } = await clientOf(invocation).listKeys({ user: userOf(invocation) }, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: ApiKeySchema,
    messages: keys,
    head: ["KEY", "NAME", "SCOPES", "MADE", "LAST USED", "REVOKED"],
    row: ({ keyId, name, scopes, createdAt, lastUsedAt, revokedAt }) => [
      keyId,
      name,
      scopes.join(" ") || "all",
      humanAge(createdAt),
      humanAge(lastUsedAt),
      revokedAt === undefined ? "-" : humanAge(revokedAt),
    ],
    none: "No key. Make one: hms-sys keys create NAME",
  });
  return ExitCode.OK;
}

/** Ends a key. */
export async function revoke(invocation: Invocation): Promise<number> {
  const [keyId = ""] = invocation.args;
  await clientOf(invocation).revokeKey({ keyId }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ revoked: keyId });
  else invocation.output.note(`Revoked ${keyId}.`);
  return ExitCode.OK;
}
