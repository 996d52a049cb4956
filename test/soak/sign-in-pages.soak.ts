import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { identityClients, identityUsers } from "@hms/contracts";
import axe from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { appCode } from "../../services/identity/src/testing/app-code.ts";
import { type IdentityProcess, IdentityScene, operator } from "../../services/identity/src/testing/identity-scene.ts";

/** The browser of this machine: the pages are looked at, and used, as people do. */
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const PASSWORD = "four words nobody joined";
const IMAGES = join(import.meta.dirname, "../../docs/guide/images");
const ALL = { width: 480, height: 640 };

let scene: IdentityScene;
let running: IdentityProcess;
let browser: Browser;
/** Anna's, as it was chosen last. */
let lastPassword = "";
/** Who has set up an app last. */
let lastApp = "";
beforeAll(async () => {
  if (CHROMIUM === undefined) return;
  scene = await IdentityScene.open();
  scene.hasMail = true;
  running = await scene.start();
  // Chromium's own sandbox wants rights that a root in a container has not.
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});
afterAll(async () => {
  await browser?.close();
  await scene?.[Symbol.asyncDispose]();
});

interface Violation {
  id: string;
  nodes: string[];
}

async function violations(page: Page): Promise<Violation[]> {
  // By the debugger, not as a script of the page: its policy stays as strict as it is.
  await page.evaluate(axe.source);
  return page.evaluate<Violation[]>(
    "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) })))",
  );
}

const users = () => running.kernel.client(identityUsers.UserService, operator);

async function fill(page: Page, fields: Record<string, string>): Promise<void> {
  for (const [name, value] of Object.entries(fields)) await page.fill(`[name=${name}]`, value);
  await page.click("main form button[type=submit]");
}

/** Every page that people can come to, by its name, with how to get there. */
const ways: Record<string, (page: Page) => Promise<unknown>> = {
  "sign-in": (page) => page.goto(`${running.origin}/sign-in`),
  "sign-in-refused": async (page) => {
    await page.goto(`${running.origin}/sign-in`);
    await fill(page, { login: "nobody", password: "nothing" });
  },
  forgot: (page) => page.goto(`${running.origin}/sign-in/forgot`),
  "choose-password": async (page) => {
    await page.goto((await users().createInvitation({ user: "anna", print: true })).link);
    await fill(page, { password: "short" });
  },
  "not-here": (page) => page.goto(`${running.origin}/sign-in/nothing`),
  "signed-in": async (page) => {
    await page.goto((await users().createResetLink({ user: "anna", print: true })).link);
    const fresh = `${PASSWORD} ${Math.random()}`;
    lastPassword = fresh;
    await fill(page, { password: fresh });
    await fill(page, { login: "anna", password: fresh });
  },
  "second-factors": (page) => page.goto(`${running.origin}/sign-in/factors`),
  "change-password": async (page) => {
    await page.goto(`${running.origin}/sign-in/change-password`);
    await fill(page, { current: "wrong", password: "short" });
  },
  app: async (page) => {
    await page.goto(`${running.origin}/sign-in/factors`);
    await page.click("text=Set up an app");
  },
  places: (page) => page.goto(`${running.origin}/sign-in/places`),
  again: (page) => page.goto(`${running.origin}/sign-in/again?next=/sign-in/factors`),
  consent: async (page) => {
    const clients = running.kernel.client(identityClients.ClientService, operator);
    const redirect_uri = "http://127.0.0.1:9/";
    const { client } = await clients.createClient({
      name: "Wiki",
      redirectUris: [redirect_uri],
      scopes: ["services:read"],
    });
    const query = new URLSearchParams({
      client_id: client?.clientId ?? "",
      redirect_uri,
      response_type: "code",
      scope: "openid services:read",
      code_challenge: "x".repeat(43),
      code_challenge_method: "S256",
    });
    await page.goto(`${running.origin}/oidc/auth?${query}`);
  },
  device: (page) => page.goto(`${running.origin}/oidc/device`),
  "recovery-codes": async (page) => {
    await page.context().clearCookies();
    const login = `kim-${Math.random().toString(36).slice(2, 8)}`;
    lastApp = login;
    await users().createUser({ login });
    await page.goto((await users().createInvitation({ user: login, print: true })).link);
    await fill(page, { password: PASSWORD });
    await fill(page, { login, password: PASSWORD });
    await page.goto(`${running.origin}/sign-in/factors`);
    await page.click("text=Set up an app");
    await fill(page, { code: await appCode((await page.textContent("main p code")) ?? "") });
    await page.waitForSelector("text=Each is good once");
  },
  "app-code": async (page) => {
    await page.context().clearCookies();
    await page.goto(`${running.origin}/sign-in`);
    await fill(page, { login: lastApp, password: PASSWORD });
    await page.waitForSelector("[name=code]");
  },
  "sign-out": (page) => page.goto(`${running.origin}/oidc/logout`),
  "wrong-request": (page) => page.goto(`${running.origin}/oidc/auth?client_id=nobody`),
};
/** Nobody comes to these but by mistake; the guide shows all others. */
const NOT_SHOWN = new Set(["sign-in-refused", "not-here", "wrong-request"]);

describe.skipIf(CHROMIUM === undefined)("the pages of the sign-in, in a browser", () => {
  test.each(["light", "dark"] as const)("have nothing that axe finds, in %s", async (colorScheme) => {
    const context = await browser.newContext({ colorScheme, viewport: ALL });
    const page = await context.newPage();
    const problems: string[] = [];
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) problems.push(message.text());
    });
    if (colorScheme === "light") await setUp(page);
    for (const [name, way] of Object.entries(ways)) {
      await way(page);
      expect([name, await violations(page)]).toEqual([name, []]);
      if (!NOT_SHOWN.has(name)) await picture(page, `${name}-${colorScheme}`);
    }
    // Nothing of a page was refused by its own policy.
    expect(problems).toEqual([]);
    await context.close();
  });

  test("would not pass with a field that has no name, or letters too pale to read", async () => {
    const page = await browser.newPage();
    await page.goto(`${running.origin}/sign-in`);
    await page.evaluate(
      'document.querySelector("label").remove(); document.querySelector("button").style.color = "#ddd"',
    );
    await page.evaluate('document.querySelector("button").style.backgroundColor = "#fff"');
    expect((await violations(page)).map(({ id }) => id).sort()).toEqual(["color-contrast", "label"]);
    await page.close();
  });

  test("work without scripts, and none is asked for", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await ways["signed-in"]?.(page);
    expect(await page.textContent("main")).toContain("You are signed in as anna");
    await page.goto(`${running.origin}/sign-in/factors`);
    expect(await page.isVisible("text=Set up an app")).toBe(true);
    expect(await page.isVisible("text=Add a passkey")).toBe(false);
    const [current, password] = [lastPassword, `${PASSWORD} once more`];
    await page.goto(`${running.origin}/sign-in/change-password`);
    await fill(page, { current, password });
    expect(await page.textContent("main")).toContain("Your password is changed");
    await context.close();
  });

  test("take a passkey by their own script, and let its owner in with it", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await withAuthenticator(context, page);
    await users().createUser({ login: "key-owner" });
    const { link } = await users().createInvitation({ user: "key-owner", print: true });
    await page.goto(link);
    await fill(page, { password: PASSWORD });
    await fill(page, { login: "key-owner", password: PASSWORD });
    await page.goto(`${running.origin}/sign-in/factors`);
    await page.click("text=Add a passkey");
    await page.waitForSelector("text=Each is good once");
    await context.clearCookies();
    await page.goto(`${running.origin}/sign-in`);
    await fill(page, { login: "key-owner", password: PASSWORD });
    await page.click("text=Use a passkey");
    await page.waitForSelector("text=You are signed in as");
    await context.close();
  });

  test("send nothing of their address to another port of their own host", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${running.origin}/sign-in`);
    const seen: (string | undefined)[] = [];
    await context.route("http://localhost:9999/**", (route) => {
      seen.push(route.request().headers().referer, route.request().headers().origin);
      return route.fulfill({ body: "<p>caught</p>", contentType: "text/html" });
    });
    await page.evaluate(
      'document.body.append(Object.assign(document.createElement("a"), { href: "http://localhost:9999/", id: "away" })); document.getElementById("away").click()',
    );
    await page.waitForSelector("text=caught");
    expect([seen, await page.evaluate("document.referrer")]).toEqual([[undefined, undefined], ""]);
    await context.close();
  });
});

async function setUp(page: Page): Promise<void> {
  await page.goto(running.identity.setUpLink ?? "");
  expect(await violations(page)).toEqual([]);
  await picture(page, "set-up-light");
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await violations(page)).toEqual([]);
  await picture(page, "set-up-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await fill(page, { login: "root", password: PASSWORD });
  await users().createUser({ login: "anna", email: "anna@example.org" });
  const { link } = await users().createInvitation({ user: "anna", print: true });
  await page.context().clearCookies();
  await page.goto(link);
  await fill(page, { password: PASSWORD });
}

async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(IMAGES, { recursive: true });
  await page.screenshot({ path: join(IMAGES, `${name}.png`) });
}

/** A passkey that Chromium itself keeps. */
async function withAuthenticator(context: BrowserContext, page: Page): Promise<void> {
  const session = await context.newCDPSession(page);
  await session.send("WebAuthn.enable");
  const options = {
    protocol: "ctap2",
    transport: "internal",
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  } as const;
  await session.send("WebAuthn.addVirtualAuthenticator", { options });
}
