import { readRecords } from "@hms/config-file";
import { HmsError } from "@hms/kernel/errors";

/** For which names the gateway gets certificates, and from whom. */
export interface AcmeSettings {
  /** Host names, each with a certificate of its own. */
  readonly names: readonly string[];
  /** Where the authority's directory is (RFC 8555 §7.1.1); default Let's Encrypt. */
  readonly directory: string;
  /** A file with the authorities that are believed for the directory's own TLS; undefined: the usual ones. */
  readonly caFile: string | undefined;
  /** Whom the authority writes to; undefined: nobody. */
  readonly mail: string | undefined;
  /** The terms of service that the operator has agreed to, by their address; "": none. */
  readonly terms: string;
  /** When the operator asked last; another time has failed names tried again at once. */
  readonly askedAt: string;
}

/** Let's Encrypt. */
export const DEFAULT_DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory";
const MOST_NAMES = 100;
const NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const ADDRESS = /^[\d.]+$/;
const OWN = /(?:^|\.)(?:localhost|mesh)$/;
const MAIL = /^[^\s<>,;:"()@]+@[^\s<>,;:"()@]+$/;

/** Why no authority can be asked for this name, as the rest of a sentence about it; undefined: it can. */
export function nameProblem(name: string): string | undefined {
  if (name.startsWith("*.")) {
    return "is a wildcard, which authorities prove by DNS only, and that is not there; name each host";
  }
  if (!NAME.test(name) || ADDRESS.test(name)) return 'is no host name in lower case; write "www.example.org"';
  if (OWN.test(name)) return "is a name of this machine, which no authority can reach; use hms-sys tls local";
  return undefined;
}

/** Why a text cannot be a directory's address; undefined: it can. */
export function directoryProblem(text: string): string | undefined {
  const url = URL.parse(text);
  const isUsable = url?.protocol === "https:" && url.username === "" && url.password === "";
  return isUsable ? undefined : "is no https address of an ACME directory";
}

/** Why a text is no mail address; undefined: it is one. */
export function mailProblem(text: string): string | undefined {
  return MAIL.test(text) ? undefined : 'is no mail address; write "ops@example.org"';
}

/** Reads acme.json. @throws HmsError INVALID_ARGUMENT with every problem, its line and column. */
export function parseAcmeSettings(text: string, fileName: string): AcmeSettings {
  const [settings, ...others] = readRecords(text, {
    fileName,
    listKey: "acme",
    read(reader) {
      const names = reader.texts("names", { check: nameProblem });
      if (names.length === 0) reader.refuse("names", 'is empty; write ["www.example.org"]');
      if (names.length > MOST_NAMES) reader.refuse("names", `has ${names.length} names; at most ${MOST_NAMES}`);
      return {
        names,
        directory: reader.text("directory", { fallback: DEFAULT_DIRECTORY, check: directoryProblem }),
        caFile: reader.text("ca_file", { fallback: "" }) || undefined,
        mail: reader.text("mail", { fallback: "", check: mailProblem }) || undefined,
        terms: reader.text("terms", { fallback: "" }),
        askedAt: reader.text("asked_at", { fallback: "" }),
      };
    },
  });
  if (settings === undefined || others.length > 0) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${fileName} cannot be used: it is one object, {"names": [...]}, not a list.`,
    );
  }
  return settings;
}

/** The text of acme.json that says this. */
export function acmeSettingsText(settings: AcmeSettings): string {
  const { names, directory, caFile, mail, terms, askedAt } = settings;
  const said = { names, directory, ca_file: caFile, mail, terms, asked_at: askedAt };
  return `${JSON.stringify(said, null, 2)}\n`;
}
