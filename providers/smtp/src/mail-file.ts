import { existsSync, readFileSync, statSync } from "node:fs";
import { readRecords } from "@hms/config-file";
import { HmsError } from "@hms/kernel";

/** How mail leaves this installation. */
export interface MailSettings {
  /** "smtps://USER:PASSWORD@HOST:465", or "smtp://…:587" for STARTTLS, which is demanded of every host but this machine. */
  readonly server: URL;
  /** Whom mail is from, "ops@example.org" or "HMS-SYS <ops@example.org>". */
  readonly from: string;
  /** The file that holds the password if the address has none. */
  readonly passwordFile?: string;
}

const FROM = /^(?:[^<>\r\n,;"]{1,100} <)?[^\s<>,;:"()@]+@[^\s<>,;:"()@]+>?$/;

/**
 * Reads the mail file of an installation; undefined if there is none.
 * @throws HmsError FAILED_PRECONDITION if others can read it, INVALID_ARGUMENT with every problem of it.
 */
export function readMailFile(file: string): MailSettings | undefined {
  if (!existsSync(file)) return undefined;
  if ((statSync(file).mode & 0o077) !== 0) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${file} holds a password and can be read by others; take that away with: chmod 600 ${file}`,
    );
  }
  const [settings] = readRecords(readFileSync(file, "utf8"), {
    fileName: file,
    listKey: "mail",
    read(reader) {
      const server = reader.text("server", {
        check: (text) =>
          serverOf(text) ? undefined : 'is no mail server; write "smtps://USER:PASSWORD@HOST:465" or "smtp://HOST:587"',
      });
      const from = reader.text("from", {
        check: (text) => (FROM.test(text) ? undefined : 'is no address; write "HMS-SYS <ops@example.org>"'),
      });
      return { server, from, passwordFile: reader.text("password_file", { fallback: "" }) };
    },
  });
  const server = serverOf(settings?.server ?? "");
  if (settings === undefined || server === undefined) {
    throw new HmsError("FAILED_PRECONDITION", `${file} names no mail server; write {"server": …, "from": …}.`);
  }
  const { from, passwordFile } = settings;
  if (passwordFile === "") return { server, from };
  checkPasswordFile(file, server);
  return { server, from, passwordFile };
}

/** @throws HmsError INVALID_ARGUMENT if there would be two passwords, or nobody whose it is */
function checkPasswordFile(file: string, { username, password }: URL): void {
  if (username !== "" && password === "") return;
  throw new HmsError("INVALID_ARGUMENT", `${file}: password_file is for "smtps://USER@HOST", a user without password.`);
}

function serverOf(text: string): URL | undefined {
  const url = URL.parse(text);
  const isOurs = url !== null && /^smtps?:$/.test(url.protocol) && url.hostname !== "";
  return isOurs ? url : undefined;
}
