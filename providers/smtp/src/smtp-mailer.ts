import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { HmsError, outgoingAddress } from "@hms/kernel";
import { readSecretFile } from "@hms/secrets";
import type { Mailer } from "@hms/service-identity/ports";
import type { Transporter } from "nodemailer";
import { type MailSettings, readMailFile } from "./mail-file.ts";

const PATIENCE_MS = 10_000;

/** Sends mail by SMTP as the mail file of an installation says, read anew for each: a change needs no restart. */
export function createSmtpMailer(file: string): Mailer {
  return {
    get isSetUp() {
      return existsSync(file);
    },
    async send({ to, subject, text }) {
      const settings = readMailFile(file);
      if (settings === undefined) {
        throw new HmsError("FAILED_PRECONDITION", `No mail server is set up; ${file} would name it.`, {
          reason: "MAIL_NOT_SET_UP",
        });
      }
      const password = passwordOf(settings);
      // Loaded when the first mail is sent: most installations send none.
      const { createTransport } = await import("nodemailer");
      let transport: Transporter | undefined;
      try {
        transport = createTransport(await transportOf(settings, password));
        // As an object it is one address, whatever stands in it.
        await transport.sendMail({ from: settings.from, to: { name: "", address: to }, subject, text });
      } catch (cause) {
        const why = (cause as Error).message;
        throw new HmsError("UNAVAILABLE", `The mail server ${settings.server.host} did not take the mail: ${why}.`, {
          reason: "MAIL_NOT_TAKEN",
          cause,
        });
      } finally {
        transport?.close();
      }
    },
  };
}

const LOCAL = new Set(["localhost", "127.0.0.1", "[::1]"]);

const passwordOf = ({ server, passwordFile }: MailSettings) =>
  passwordFile === undefined
    ? decodeURIComponent(server.password)
    : readSecretFile(passwordFile, "password_file of mail.json");

async function transportOf({ server }: MailSettings, pass: string) {
  const { protocol, hostname, port, username } = server;
  const host = hostname.replace(/^\[|\]$/g, "");
  const secure = protocol === "smtps:";
  return {
    host: await outgoingAddress(host),
    // Its certificate is that of its name, at whatever address.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    port: port === "" ? (secure ? 465 : 587) : Number(port),
    secure,
    requireTLS: !secure && !LOCAL.has(hostname),
    ignoreTLS: !secure && LOCAL.has(hostname),
    ...(username === "" ? {} : { auth: { user: decodeURIComponent(username), pass } }),
    connectionTimeout: PATIENCE_MS,
    greetingTimeout: PATIENCE_MS,
    socketTimeout: PATIENCE_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}
