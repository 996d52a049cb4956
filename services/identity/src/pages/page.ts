import type { ServerResponse } from "node:http";
import type { ErrorOut, KoaContextWithOIDC } from "oidc-provider";
import { type Html, html } from "./html.ts";
import { protectAnswer } from "./protect-answer.ts";

/** A page of the sign-in. */
export interface Page {
  readonly title: string;
  readonly content: Html;
  readonly status?: number;
  /** Origins beside the own one to which answers to this page's forms may lead. */
  readonly leadsTo?: readonly string[];
  /** True: it has forms that a script of ours fills in; it works without, too. Default false. */
  readonly script?: boolean;
}

/** The whole document; it needs no script. */
function documentOf({ title, content, script = false }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} – HMS-SYS</title>
<link rel="stylesheet" href="/sign-in/style.css">
${script ? html`<script src="/sign-in/passkey.js" defer></script>` : ""}
</head>
<body>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`.text;
}

/** What every page is sent with, beside what every answer is: no foreign script or form, no trace in caches. */
function pageFields({ leadsTo = [], script = false }: Page): Record<string, string> {
  const forms = ["'self'", ...leadsTo].join(" ");
  return {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": `default-src 'none'; style-src 'self'; ${script ? "script-src 'self'; " : ""}object-src 'none'; form-action ${forms}; frame-ancestors 'none'; base-uri 'none'`,
    "cache-control": "no-store",
  };
}

/** Sends a page. */
export function sendPage(response: ServerResponse, page: Page): void {
  protectAnswer(response);
  for (const [name, value] of Object.entries(pageFields(page))) response.setHeader(name, value);
  response.statusCode = page.status ?? 200;
  response.end(documentOf(page));
}

/** Answers a request of the protocol with a page. */
export function showPage(ctx: KoaContextWithOIDC, page: Page): void {
  protectAnswer(ctx.res);
  ctx.set(pageFields(page));
  ctx.type = "html";
  ctx.body = documentOf(page);
}

/** Answers with a title and a sentence. */
export function plainPage(ctx: KoaContextWithOIDC, title: string, sentence: string): void {
  showPage(ctx, { title, content: html`<p>${sentence}</p>` });
}

/** Answers with what went wrong in the protocol, for people. */
export function errorPage(ctx: KoaContextWithOIDC, { error, error_description: description }: ErrorOut): void {
  const content = html`<p role="alert">${description ?? error}</p>
<p>Go back to the program that sent you here, and begin again. (${error})</p>`;
  showPage(ctx, { title: "This did not work", content });
}
