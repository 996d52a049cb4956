import { mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AcmeProblem, type AcmeSettings, askDirectory, DEFAULT_DIRECTORY, nameStates, remedyFor } from "@hms/acme";
import { type InstancePaths, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { runningSession } from "../../platform-start.ts";
import { acmeFolder, readAcmeFile, writeAcmeFile } from "../../tls/acme-file.ts";
import { commaSeparated } from "../identity/option-lists.ts";
import { showStates } from "./status.ts";

const PATIENCE_MS = 90_000;
const LOOK_EVERY_MS = 300;

/** Sets for which names certificates are obtained, and waits for what comes of it. */
export async function run(invocation: Invocation): Promise<number> {
  const { globals, options, output, signal } = invocation;
  const paths = resolveInstance(globals);
  if (options.off === true) {
    rmSync(paths.acmeFile, { force: true });
    output.note("No certificates are obtained by ACME any more.");
    if (output.json) output.document({ names: [] });
    return ExitCode.OK;
  }
  const settings = await agreed(settingsOf(invocation, readAcmeFile(paths)), options.agreeTerms === true, signal);
  mkdirSync(paths.config, { recursive: true, mode: 0o700 });
  writeAcmeFile(paths, settings);
  await outcome(paths, settings, invocation);
  return showStates(nameStates(acmeFolder(paths), settings), output);
}

function settingsOf({ options }: Invocation, known: AcmeSettings | undefined): AcmeSettings {
  const names = commaSeparated(options.names).map((name) => name.toLowerCase());
  if (names.length === 0 && known === undefined) {
    throw new HmsError("INVALID_ARGUMENT", "Say for which names: hms-sys tls acme --names www.example.org");
  }
  const text = (value: unknown) => (typeof value === "string" ? value : undefined);
  const caFile = text(options.caFile);
  return {
    names: names.length > 0 ? names : (known?.names ?? []),
    directory: text(options.directory) ?? known?.directory ?? DEFAULT_DIRECTORY,
    // The server is elsewhere.
    caFile: caFile === undefined ? known?.caFile : resolve(caFile),
    mail: text(options.mail) ?? known?.mail,
    terms: known?.terms ?? "",
    askedAt: new Date().toISOString(),
  };
}

/** Nobody agrees to an authority's terms in silence. */
async function agreed(settings: AcmeSettings, isAgreed: boolean, signal: AbortSignal): Promise<AcmeSettings> {
  const terms = await termsOf(settings, signal);
  if (terms === "" || terms === settings.terms) return settings;
  if (isAgreed) return { ...settings, terms };
  const message = `The authority issues certificates on its terms: ${terms} Read them, and repeat the command with --agree-terms.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "TERMS_NOT_AGREED" });
}

async function termsOf(settings: AcmeSettings, signal: AbortSignal): Promise<string> {
  try {
    return (await askDirectory(settings, signal)).meta?.termsOfService ?? "";
  } catch (cause) {
    if (!(cause instanceof AcmeProblem)) throw cause;
    throw new HmsError("UNAVAILABLE", `${cause.message}. ${remedyFor(cause.kind)}`, { cause });
  }
}

/** Waits until each name has its certificate or has failed, as long as a server may be at it. */
async function outcome(
  paths: InstancePaths,
  settings: AcmeSettings,
  { globals, output, signal }: Invocation,
): Promise<void> {
  const session = await runningSession(globals);
  await session?.close();
  if (session === undefined) {
    output.note("The platform does not run; certificates are obtained once it does.");
    return;
  }
  const deadline = performance.now() + PATIENCE_MS;
  const isOpen = () =>
    nameStates(acmeFolder(paths), settings).some(({ until, isAnswer }) => until === undefined && !isAnswer);
  while (isOpen() && performance.now() < deadline) await delay(LOOK_EVERY_MS, undefined, { signal });
}
