import type { KoaContextWithOIDC } from "oidc-provider";
import { Html, html } from "./html.ts";
import { showPage } from "./page.ts";

/** Asks whether the browser shall be signed out, of everything. */
export function logOutPage(ctx: KoaContextWithOIDC, form: string): void {
  const content = html`<p>You will be signed out of HMS-SYS in this browser.</p>
${new Html(form)}
<button type="submit" form="op.logoutForm" value="yes" name="logout">Sign out</button>
<button type="submit" form="op.logoutForm" class="other">Stay</button>`;
  const to = ctx.oidc.session?.state?.postLogoutRedirectUri;
  showPage(ctx, { title: "Sign out?", content, leadsTo: typeof to === "string" ? [new URL(to).origin] : [] });
}
