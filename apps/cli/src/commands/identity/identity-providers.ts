import { readFileSync } from "node:fs";
import { identityProviders } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { presentList, presentOne } from "../../output/present.ts";

const { IdentityProviderService, IdentityProviderSchema } = identityProviders;
const clientOf = ({ session }: Invocation) => identityClient(session(), IdentityProviderService);
const STDIN = 0;

/** Lists outside providers by which people can come in. */
export async function list(invocation: Invocation): Promise<number> {
  const { providers } = await clientOf(invocation).listIdentityProviders({}, { signal: invocation.signal });
  presentList(invocation.output, {
    schema: IdentityProviderSchema,
    messages: providers,
    head: ["NAME", "SHOWN AS", "ISSUER", "CLIENT ID", "ACCOUNTS FOR"],
    row: ({ name, displayName, issuer, clientId, signUp }) => [
      name,
      displayName,
      issuer,
      clientId,
      signUp?.emailDomains.join(" ") ?? "-",
    ],
    none: "People come in by their accounts here only.",
  });
  return ExitCode.OK;
}

/** Adds or replaces an outside provider. */
export async function put(invocation: Invocation): Promise<number> {
  const { args, options, output, signal } = invocation;
  const text = (name: string) => (typeof options[name] === "string" ? (options[name] as string) : "");
  const request = {
    name: args[0] ?? "",
    displayName: text("name"),
    issuer: text("issuer"),
    clientId: text("clientId"),
    clientSecret: secretIn(text("secretFile")),
    ...signUpIn(text),
  };
  const { provider } = await clientOf(invocation).putIdentityProvider(request, { signal });
  if (provider === undefined) return ExitCode.ERROR;
  const lines = [
    `${provider.name}: ${provider.issuer}`,
    `register there as redirect URI: ${provider.redirectUri}`,
    ...signUpLines(provider),
  ];
  presentOne(output, IdentityProviderSchema, { message: provider, lines });
  return ExitCode.OK;
}

const listIn = (text: string) => text.split(",").filter((part) => part !== "");

/** Who gets an account at the first sign-in; nobody unless it is said. */
function signUpIn(text: (name: string) => string) {
  const [emailDomains = [], roles = [], groups = []] = ["signUp", "signUpRoles", "signUpGroups"].map((name) =>
    listIn(text(name)),
  );
  if (emailDomains.length > 0) return { signUp: { emailDomains, roles, groups } };
  if (roles.length + groups.length === 0) return {};
  const message =
    "--sign-up-roles and --sign-up-groups say what new accounts begin with; say who gets one: --sign-up example.org";
  throw new HmsError("INVALID_ARGUMENT", message);
}

function signUpLines({ signUp }: identityProviders.IdentityProvider): string[] {
  if (signUp === undefined) return [];
  const { emailDomains, roles, groups } = signUp;
  const who = emailDomains.includes("*") ? "everybody there" : `verified addresses of ${emailDomains.join(", ")}`;
  const what = [...roles, ...groups.map((group) => `group:${group}`)].join(", ");
  return [`an account at the first sign-in for ${who}, with ${what || "no roles"}`];
}

/** A secret on the command line could be read by everybody on the machine. */
function secretIn(file: string): string {
  if (file === "") return "";
  try {
    return readFileSync(file === "-" ? STDIN : file, "utf8").trim();
  } catch (cause) {
    throw new HmsError("INVALID_ARGUMENT", `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Removes an outside provider. */
export async function remove(invocation: Invocation): Promise<number> {
  const [name = ""] = invocation.args;
  await clientOf(invocation).deleteIdentityProvider({ name }, { signal: invocation.signal });
  if (invocation.output.json) invocation.output.document({ removed: name });
  else invocation.output.note(`Removed ${name}.`);
  return ExitCode.OK;
}
