import { expect, test } from "vitest";
import { html } from "./html.ts";
import { localPath } from "./sign-in-visit.ts";

test("values become text, and only what is HTML already stays HTML", () => {
  expect(html`<p title="${`"'<&>`}">${html`<b>${"<i>"}</b>`}${[html`1`, html`2`]}</p>`.text).toBe(
    '<p title="&quot;&#39;&lt;&amp;&gt;"><b>&lt;i&gt;</b>12</p>',
  );
});

test("a place to go on to is a path of our own", () => {
  for (const good of ["/oidc/auth/x?a=b", "/sign-in", "/console", "/console/jobs?x=%2f"])
    expect(localPath(good)).toBe(good);
  for (const bad of [
    null,
    "",
    "/",
    "//e",
    "/oidc//e",
    "/signing",
    "/sign-in\\e",
    "/x",
    "http://e",
    "/console\n",
    "/consolex",
  ]) {
    expect(localPath(bad), String(bad)).toBe("/sign-in");
  }
});
