import type { IncomingHttpHeaders } from "node:http";
import type { Credentials, HmsError } from "@hms/kernel";
import { type EdgeFault, fault } from "./edge-fault.ts";

const NOBODY: Credentials = Object.freeze({ transport: "network" });

const SCHEME = /^(bearer|ticket|basic) +([\x21-\x7e]+)$/i;

/**
 * What an Authorization field shows: a bearer token, a ticket, or a token as the password of Basic; the user name is
 * not looked at. A browser sends Basic for every page of an origin, users' services included, so from a browser it
 * counts only where people look and nothing changes (`forBrowser`). A browser shows a certificate to whoever asks, too:
 * it says who a program is, never who a page is.
 * @throws EdgeFault UNAUTHENTICATED for any other scheme, or Basic from a page
 */
export function credentialsOf(headers: IncomingHttpHeaders, terms: CredentialTerms = {}): Credentials {
  const { authorization } = headers;
  const nobody = nobodyBut(terms.peer ?? {}, headers["sec-fetch-site"] !== undefined);
  const { forBrowser = false, isPlatformHost = false } = terms;
  if (authorization === undefined) return isPlatformHost ? sessionCredentials(headers) : nobody;
  const [, scheme = "", value = ""] = SCHEME.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return { ...nobody, token: value };
    case "ticket":
      return { ...nobody, ticket: value };
    case "basic":
      if (!forBrowser && headers["sec-fetch-site"] !== undefined) throw notForPages();
      return { ...nobody, token: passwordOf(value) };
    default:
      throw fault("UNAUTHENTICATED", 'The Authorization field must be "Bearer TOKEN", "Ticket TICKET" or "Basic …".', {
        reason: "CREDENTIALS_MALFORMED",
      });
  }
}

function nobodyBut({ peer, known }: NonNullable<CredentialTerms["peer"]>, isBrowser: boolean): Credentials {
  if (known === undefined && (peer === undefined || isBrowser)) return NOBODY;
  return { ...NOBODY, ...(isBrowser ? {} : { peer }), ...(known ? { known } : {}) };
}

/** Where credentials are shown. */
export interface CredentialTerms {
  /** True: people look there with a browser, and nothing changes. */
  readonly forBrowser?: boolean;
  /** True: at the platform's own host, where a browser session's cookie counts. */
  readonly isPlatformHost?: boolean;
  /** What the client's connection has shown by itself. */
  readonly peer?: Pick<Credentials, "peer" | "known">;
}

const SESSION = /(?:^|; ?)__Host-hms_session=(hmss_[A-Za-z0-9_-]{43})(?:;|$)/;

// Browsers say of themselves which page asks; one of another site or service, or a link, gets nothing by the cookie.
function sessionCredentials({ cookie, "sec-fetch-site": site }: IncomingHttpHeaders): Credentials {
  const [, token] = site === "same-origin" && cookie !== undefined ? (SESSION.exec(cookie) ?? []) : [];
  return token === undefined ? NOBODY : { transport: "network", token };
}

function notForPages(): EdgeFault {
  return fault("UNAUTHENTICATED", "Pages call with a bearer token; Basic opens the reference pages only.", {
    reason: "CREDENTIALS_OF_BROWSER",
  });
}

function passwordOf(value: string): string {
  const pair = Buffer.from(value, "base64").toString("utf8");
  return pair.slice(pair.indexOf(":") + 1);
}

/** What to show instead, for the answer to somebody who showed nothing or something wrong. */
export function challenge(realm: string, forBrowser: boolean): string {
  return `${forBrowser ? "Basic" : "Bearer"} realm=${JSON.stringify(realm)}`;
}

/**
 * The WWW-Authenticate field of an answer to who is known and has to show more (RFC 9470): sign in once more, with a second
 * factor, `max_age` seconds before the next call at most.
 */
export function stepUpChallenge(realm: string, { details }: HmsError): string {
  const maxAge = details.metadata?.max_age ?? "";
  // Errors of services say what they like.
  const age = /^\d{1,9}$/.test(maxAge) ? `, max_age="${maxAge}"` : "";
  return `Bearer realm=${JSON.stringify(realm)}, error="insufficient_user_authentication"${age}`;
}
