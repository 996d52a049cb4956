import { existsSync, readFileSync, statSync } from "node:fs";
import { readRecords } from "@hms/config-file";
import { HmsError } from "@hms/kernel";
import type { SecretSource } from "@hms/secrets";

/** How mail leaves this installation. */
export interface MailSettings {
  /** "smtps://USER:PASSWORD@HOST:465", or "smtp://…:587" for STARTTLS, which is demanded of every host but this machine. */
  readonly server: URL;
  /** Whom mail is from, "ops@example.org" or "HMS-SYS <ops@example.org>". */
  readonly from: string;
  /** Where the password is kept if the address has none. */
  readonly password?: SecretSource | undefined;
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
      const path = reader.text("password_file", { fallback: "" });
      const command = reader.text("password_command", { fallback: "" });
      return { server, from, path, command };
    },
  });
  const server = serverOf(settings?.server ?? "");
  if (settings === undefined || server === undefined) {
    throw new HmsError("FAILED_PRECONDITION", `${file} names no mail server; write {"server": …, "from": …}.`);
  }
  return { server, from: settings.from, password: passwordSource(file, server, settings) };
}

/** @throws HmsError INVALID_ARGUMENT if there would be several passwords, or nobody whose it is */
function passwordSource(
  file: string,
  { username, password }: URL,
  { path, command }: { path: string; command: string },
): SecretSource | undefined {
  if (path === "" && command === "") return undefined;
  if (username === "" || password !== "" || (path !== "" && command !== "")) {
    const message = `${file}: beside "smtps://USER@HOST", a user without password, write one of password_file and password_command.`;
    throw new HmsError("INVALID_ARGUMENT", message);
  }
  return path !== "" ? { kind: "file", path } : { kind: "command", command };
}

function serverOf(text: string): URL | undefined {
  const url = URL.parse(text);
  const isOurs = url !== null && /^smtps?:$/.test(url.protocol) && url.hostname !== "";
  return isOurs ? url : undefined;
}
