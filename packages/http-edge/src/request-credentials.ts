import type { Credentials } from "@hms/kernel";
import { fault } from "./edge-fault.ts";

const NOBODY: Credentials = Object.freeze({ transport: "network" });

const SCHEME = /^(bearer|ticket|basic) +([\x21-\x7e]+)$/i;

/**
 * What an Authorization field shows: a bearer token, a ticket, or a token as the password of Basic (so that a browser
 * can ask for it); the user name is not looked at.
 * @throws EdgeFault UNAUTHENTICATED for any other scheme
 */
export function credentialsOf(authorization: string | undefined): Credentials {
  if (authorization === undefined) return NOBODY;
  const [, scheme = "", value = ""] = SCHEME.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return { transport: "network", token: value };
    case "ticket":
      return { transport: "network", ticket: value };
    case "basic":
      return { transport: "network", token: passwordOf(value) };
    default:
      throw fault("UNAUTHENTICATED", 'The Authorization field must be "Bearer TOKEN", "Ticket TICKET" or "Basic …".', {
        reason: "CREDENTIALS_MALFORMED",
      });
  }
}

function passwordOf(value: string): string {
  const pair = Buffer.from(value, "base64").toString("utf8");
  return pair.slice(pair.indexOf(":") + 1);
}

/** What to show instead, for the answer to somebody who showed nothing or something wrong. */
export function challenge(realm: string, forBrowser: boolean): string {
  return `${forBrowser ? "Basic" : "Bearer"} realm=${JSON.stringify(realm)}`;
}
