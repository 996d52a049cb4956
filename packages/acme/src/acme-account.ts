import { readFileSync } from "node:fs";
import type { AcmeFolder } from "./acme-folder.ts";
import { AcmeProblem } from "./acme-problem.ts";
import { AcmeSession, type Directory, readDirectory } from "./acme-session.ts";
import type { AcmeSettings } from "./acme-settings.ts";
import { type Exchange, httpsExchange } from "./https-exchange.ts";

/** Reaches the authority that is set. Raises AcmeProblem "unreachable" if the file of authorities cannot be read. */
export function exchangeFor({ caFile }: Pick<AcmeSettings, "caFile">, signal: AbortSignal): Exchange {
  return httpsExchange({ ca: caFile === undefined ? undefined : textOf(caFile), userAgent: "hms-sys", signal });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new AcmeProblem("unreachable", `ca_file cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** What an authority says of itself, without an account. Raises AcmeProblem. */
export function askDirectory(
  settings: Pick<AcmeSettings, "caFile" | "directory">,
  signal: AbortSignal,
): Promise<Directory> {
  return readDirectory(exchangeFor(settings, signal), settings.directory);
}

/** A conversation as the installation's account, which is made if there is none yet. Raises AcmeProblem. */
export async function openAccount(
  folder: AcmeFolder,
  settings: AcmeSettings,
  signal: AbortSignal,
): Promise<AcmeSession> {
  const { directory: url, terms, mail } = settings;
  const exchange = exchangeFor(settings, signal);
  const directory = await readDirectory(exchange, url);
  const session = new AcmeSession(exchange, directory, folder.accountKey(url));
  const known = folder.account(url);
  const contact = mail === undefined ? [] : [`mailto:${mail}`];
  if (known === undefined) {
    requireAgreement(directory, terms);
    const termsOfServiceAgreed = directory.meta?.termsOfService !== undefined;
    const { location } = await session.post(directory.newAccount, { termsOfServiceAgreed, contact });
    if (location === undefined) throw new AcmeProblem("unreachable", "the authority does not say where the account is");
    session.account = location;
  } else {
    session.account = known.url;
    if (known.mail !== mail) await session.post(known.url, { contact });
  }
  if (known?.mail !== mail || known === undefined) folder.keepAccount(url, { url: session.account, mail });
  return session;
}

/** Nobody agrees to terms but the operator, and to those that there are. */
function requireAgreement({ meta }: Directory, agreed: string): void {
  const terms = meta?.termsOfService;
  if (meta?.externalAccountRequired === true) {
    throw new AcmeProblem(
      "externalAccountRequired",
      "the authority takes only accounts that were agreed with it before",
    );
  }
  if (terms === undefined || terms === agreed) return;
  throw new AcmeProblem("termsChanged", `the authority's terms of service have not been agreed to: ${terms}`);
}
