import type { ServerResponse } from "node:http";
import { asHostCookie } from "./host-cookies.ts";

/**
 * Takes care of what the library says in an answer: its cookies are for TLS or loopback only, and its realm is its address,
 * which not everybody may know who asks for a program's tokens.
 */
export function finishAnswer(response: ServerResponse, issuer: string): void {
  const cookies = response.getHeader("set-cookie");
  if (Array.isArray(cookies)) {
    response.setHeader(
      "set-cookie",
      cookies.map((cookie) => secured(asHostCookie(cookie))),
    );
  }
  const asked = response.getHeader("www-authenticate");
  if (typeof asked === "string") response.setHeader("www-authenticate", asked.replaceAll(issuer, "hms-sys"));
}

// The library would not say so without TLS, though browsers take it from loopback.
const secured = (cookie: string) => (/; *secure(?:;|$)/i.test(cookie) ? cookie : `${cookie}; Secure`);
