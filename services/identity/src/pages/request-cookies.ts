import type { IncomingHttpHeaders, ServerResponse } from "node:http";

/** The cookie of a browser session; the prefix keeps it to this host, TLS or loopback, and the whole of it. */
export const SESSION_COOKIE = "__Host-hms_session";
/** The cookie that a form's token belongs to. */
export const FORM_COOKIE = "__Host-hms_form";

/** The cookie of a browser that has left for an outside provider. */
export const OUTSIDE_COOKIE = "__Host-hms_outside";

/** The value of a cookie; undefined if there is none, or more than one. */
export function cookieOf({ cookie = "" }: IncomingHttpHeaders, name: string): string | undefined {
  const found = cookie
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
  return found.length === 1 ? found[0] : undefined;
}

/** Adds a cookie to an answer; without a value it is taken away. */
export function setCookie(response: ServerResponse, name: string, value: string | undefined): void {
  const end = value === undefined ? "; Max-Age=0" : "";
  response.appendHeader("set-cookie", `${name}=${value ?? ""}; Path=/; Secure; HttpOnly; SameSite=Lax${end}`);
}
