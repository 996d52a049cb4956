import { readFileSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import { deploymentSecrets } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { hiddenAnswer } from "../output/hidden-answer.ts";
import { humanAge } from "../output/human.ts";
import { presentList } from "../output/present.ts";
import { parseCount } from "../parse-option.ts";

const { SecretSchema, SecretService, SetSecretResponseSchema } = deploymentSecrets;
const clientOf = ({ session }: Invocation) => createClient(SecretService, session().platform);
const STDIN = 0;
const PAGE = 200;

/** Gives a secret a new value, and says which services still run with an older one. */
export async function set(invocation: Invocation): Promise<number> {
  const { args, globals, output, signal } = invocation;
  const [name = ""] = args;
  const { environment } = globals;
  const value = await givenValue(invocation);
  const response = await clientOf(invocation).setSecret({ environment, name, value }, { signal });
  if (output.json) {
    output.document(toJson(SetSecretResponseSchema, response, { alwaysEmitImplicit: true }));
    return ExitCode.OK;
  }
  output.result(`${name} has version ${response.version} in ${environment}.`);
  for (const { service, version } of response.older) {
    output.note(
      `${service} runs with version ${version} until you deploy it, or: hms-sys restart ${service} --new-secrets -e ${environment}`,
    );
  }
  return ExitCode.OK;
}

/** A value in an argument would be in the list of processes and in the shell's history. */
async function givenValue({ args, options, signal }: Invocation): Promise<string> {
  if (options.value !== undefined) {
    const message = `A value is never an argument: everybody on this machine can read those, and the shell keeps them. What you gave there was readable, so choose another value. Then: hms-sys secrets set ${args[0]}, which asks for it, or pipe it in, or name a file with --from-file.`;
    throw new HmsError("INVALID_ARGUMENT", message, { reason: "VALUE_IN_ARGUMENTS" });
  }
  if (typeof options.fromFile === "string") return textIn(options.fromFile === "-" ? STDIN : options.fromFile);
  if (!process.stdin.isTTY) return textIn(STDIN).replace(/\r?\n$/, "");
  const value = await hiddenAnswer("Value: ", signal);
  if (value === (await hiddenAnswer("Again: ", signal))) return value;
  throw new HmsError("INVALID_ARGUMENT", "The two are not the same. Nothing was set; try again.");
}

function textIn(file: string | number): string {
  const shown = file === STDIN ? "standard input" : file;
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new HmsError("INVALID_ARGUMENT", `${shown} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const message = `${shown} is not UTF-8, and an environment variable is a text. Encode it, in base64 for example, and let the program decode it.`;
    throw new HmsError("INVALID_ARGUMENT", message);
  }
}

/** Lists secrets without their values. */
export async function list(invocation: Invocation): Promise<number> {
  const { options, globals, output, signal } = invocation;
  const environment = options.allEnvironments === true ? "" : globals.environment;
  const secrets: deploymentSecrets.Secret[] = [];
  let pageToken = "";
  do {
    const page = await clientOf(invocation).listSecrets({ environment, pageSize: PAGE, pageToken }, { signal });
    secrets.push(...page.secrets);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  presentList(output, {
    schema: SecretSchema,
    messages: secrets,
    head: ["ENV", "NAME", "VERSIONS", "SET", "BY", "USED BY"],
    row: ({ environment: place, name, versions, uses }) => [
      place,
      name,
      versions.map(({ version }) => String(version)).join(", "),
      humanAge(versions[0]?.setAt),
      versions[0]?.setBy ?? "",
      uses
        .map(({ service, version }) => (version === versions[0]?.version ? service : `${service} (version ${version})`))
        .join(", "),
    ],
    none: `There are no secrets here. Set one: hms-sys secrets set NAME${environment === "" ? "" : ` -e ${environment}`}`,
  });
  return ExitCode.OK;
}

/** Prints the value of a secret. */
export async function reveal(invocation: Invocation): Promise<number> {
  const { args, options, globals, output, signal } = invocation;
  const [name = ""] = args;
  const version = options.version === undefined ? 0 : parseCount("--version", String(options.version), 1);
  const request = { environment: globals.environment, name, version: BigInt(version) };
  const revealed = await clientOf(invocation).revealSecret(request, { signal });
  if (output.json) output.document({ version: String(revealed.version), value: revealed.value });
  else output.result(revealed.value);
  return ExitCode.OK;
}

/** Destroys a secret; asks first on a terminal, needs --yes elsewhere. */
export async function remove(invocation: Invocation): Promise<number> {
  const { args, options, globals, output, signal } = invocation;
  const [name = ""] = args;
  const { environment } = globals;
  if (options.yes !== true) await confirm(name, signal);
  const { services } = await clientOf(invocation).removeSecret({ environment, name }, { signal });
  if (output.json) {
    output.document({ removed: name, services });
    return ExitCode.OK;
  }
  output.result(`${name} is destroyed in ${environment}.`);
  if (services.length > 0) output.note(`Deploy without it before they can run again: ${services.join(", ")}`);
  return ExitCode.OK;
}

async function confirm(name: string, signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY) {
    const message = `Every version of ${name} is destroyed, and no backup is made: say --yes where nobody can be asked.`;
    throw new HmsError("INVALID_ARGUMENT", message);
  }
  const { createInterface } = await import("node:readline/promises");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`Destroy every version of ${name}? Type its name: `, { signal });
  prompt.close();
  if (answer.trim() !== name) throw new HmsError("FAILED_PRECONDITION", "Nothing was removed: that is not its name.");
}
