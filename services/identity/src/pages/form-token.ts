import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { HmsError } from "@hms/kernel";
import { newSecret } from "../secret-digest.ts";
import { cookieOf, FORM_COOKIE, setCookie } from "./request-cookies.ts";

const COOKIE = /^[A-Za-z0-9_-]{43}$/;

/** Ties forms to the browser they were sent to (OWASP's signed double submit), so that no other page can send them. */
export class FormTokens {
  readonly #key: Buffer;
  readonly #origin: string;

  constructor(key: Buffer, origin: string) {
    this.#key = key;
    this.#origin = origin;
  }

  /** The token for a form in this answer. */
  issue({ headers }: IncomingMessage, response: ServerResponse): string {
    const kept = cookieOf(headers, FORM_COOKIE);
    const cookie = kept !== undefined && COOKIE.test(kept) ? kept : newSecret();
    if (cookie !== kept) setCookie(response, FORM_COOKIE, cookie);
    return this.#sign(cookie);
  }

  /** @throws HmsError PERMISSION_DENIED if the form is not one of ours, or another page sent it. */
  check({ headers }: IncomingMessage, token: string): void {
    const cookie = cookieOf(headers, FORM_COOKIE) ?? "";
    const [shown, expected] = [Buffer.from(token), Buffer.from(this.#sign(cookie))];
    const isForeign = headers.origin !== undefined && headers.origin !== this.#origin;
    const isSame = COOKIE.test(cookie) && shown.length === expected.length && timingSafeEqual(shown, expected);
    if (isSame && !isForeign) return;
    const message = "This form has ended, or did not come from this page. Go back, load the page again and repeat it.";
    throw new HmsError("PERMISSION_DENIED", message, { reason: "FORM_NOT_OURS" });
  }

  #sign(cookie: string): string {
    return createHmac("sha256", this.#key).update(cookie).digest("base64url");
  }
}
