import type { KoaContextWithOIDC } from "oidc-provider";
import type { IdentityDatabase } from "../identity-tables.ts";
import { html } from "../pages/html.ts";
import { showPage } from "../pages/page.ts";
import { addressOf } from "../pages/sign-in-visit.ts";
import { beginAttempt, endAttempt, networkOf } from "../passwords/attempt-throttle.ts";
import { forLibrary } from "./library-error.ts";

/**
 * Slows down who guesses the codes that programs show: a network that types ten wrong ones waits, up to 15 minutes (RFC 8628,
 * section 5.1).
 */
export function limitUserCodes(database: IdentityDatabase) {
  return async (ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> => {
    if (ctx.method !== "POST" || ctx.path !== "/device") return next();
    const address = addressOf(ctx.req);
    // Counted for each network by itself: nobody can keep others from signing programs in.
    const attempt = { subject: `device codes from ${networkOf(address)}`, address, isGuessable: true };
    if (!(await forLibrary(beginAttempt(database, attempt)))) {
      ctx.status = 429;
      const content = html`<p role="alert">There were too many wrong codes of late. Wait some minutes, and type the code again.</p>`;
      return showPage(ctx, { title: "Sign a program in", content });
    }
    await next();
    if (ctx.oidc.entities.DeviceCode !== undefined) await forLibrary(endAttempt(database, attempt));
  };
}
