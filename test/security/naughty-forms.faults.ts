import { identityUsers } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, Browser, localFetch } from "../../services/identity/src/testing/browser.ts";
import { IdentityScene, operator } from "../../services/identity/src/testing/identity-scene.ts";
import { OAuthVisitor } from "../../services/identity/src/testing/oauth-visitor.ts";
import { somebody } from "../../services/identity/src/testing/people.ts";
import { eachOf, naughtyStrings } from "../system/naughty-strings.ts";

/** Texts of which each place gets some, so that all of them go through some place of each kind. */
const PER_FIELD = 20;
const AT_ONCE = 4;

let scene: IdentityScene;
let visitor: OAuthVisitor;
let origin = "";

beforeAll(async () => {
  scene = await IdentityScene.open();
}, 60_000);
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  // Whatever failed inside, though its page looked well, fails here.
  expect(scene.failures).toEqual([]);
});

let next = 0;
/** The next texts of the list. */
function someOf(count: number): string[] {
  return Array.from({ length: count }, () => naughtyStrings[next++ % naughtyStrings.length] ?? "");
}
const used = new Set<string>();
const pathOf = (link: string) => new URL(link).pathname + new URL(link).search;

/** Guesses are slowed down, and these are many. */
const forgetAttempts = () => scene.database.db.deleteFrom("attempt").execute();

/** A text that would be markup where it is not escaped. */
const isMarkup = (text: string) => text.trim().length > 3 && /[<>"]/.test(text);

/** What is wrong with an answer to a text. */
function problemOf({ status, headers, body }: Answer, text: string): string | undefined {
  if (status >= 500) return `is answered by ${status}: ${body.slice(0, 200)}`;
  const isPage = String(headers["content-type"] ?? "").startsWith("text/html");
  if (isPage && isMarkup(text) && body.includes(text)) return "stands in the page as it is";
  if (String(headers["set-cookie"] ?? "").includes("x=1;")) return "sets a cookie of its own";
  const { location } = headers;
  if (typeof location !== "string") return undefined;
  const to = new URL(location, origin);
  return to.origin === origin || to.href.startsWith(visitor.redirect) ? undefined : `leads to ${location}`;
}

interface Form {
  readonly action: string;
  readonly method: string;
  readonly fields: Readonly<Record<string, string>>;
}

const unescaped = (text: string) => text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&");
const attributeOf = (tag: string, name: string) => unescaped(new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? "");

/** Every form of a page with its fields, hidden ones and buttons with a name included. */
function formsOf({ body, url }: Answer): Form[] {
  return [...body.matchAll(/<form([^>]*)>(.*?)<\/form>/gs)].map(([, tag = "", inside = ""]) => {
    const inputs = [...inside.matchAll(/<(?:input|button|textarea)[^>]*\bname="[^"]*"[^>]*>/g)].map(([input]) => [
      attributeOf(input, "name"),
      attributeOf(input, "value"),
    ]);
    return {
      action: attributeOf(tag, "action") || new URL(url).pathname,
      method: (attributeOf(tag, "method") || "get").toUpperCase(),
      fields: Object.fromEntries(inputs),
    };
  });
}

/** What stands in the other fields: plausible, and never good enough to change anything. */
const PLAUSIBLE: Readonly<Record<string, string>> = { login: "anna", password: "x", current: "x", code: "000000" };

interface Tried {
  readonly what: string;
  readonly page: Answer;
  readonly browser: Browser;
  /** What stands in fields instead of what is plausible elsewhere. */
  readonly others?: Readonly<Record<string, string>>;
}

/** Sends each form of a page with naughty texts in each of its fields; answers how often. */
async function tryForms({ what, page, browser, others = {} }: Tried, problems: string[]): Promise<number> {
  let sent = 0;
  for (const { action, method, fields } of formsOf(page).filter((form) => form.method === "POST")) {
    await eachOf(Object.keys(fields), AT_ONCE, async (name) => {
      for (const text of someOf(PER_FIELD)) {
        used.add(text);
        const form = new URLSearchParams({ ...fields, ...pick({ ...PLAUSIBLE, ...others }, fields), [name]: text });
        const answer = await browser.fetch(method, action, form);
        const problem = problemOf(answer, text);
        if (problem) problems.push(`${what}: ${action} ${name} ${JSON.stringify(text.slice(0, 80))} ${problem}`);
        sent += 1;
      }
    });
    await forgetAttempts();
  }
  return sent;
}

function pick(from: Readonly<Record<string, string>>, names: object): Record<string, string> {
  return Object.fromEntries(Object.entries(from).filter(([name]) => name in names));
}

describe("naughty strings in forms", () => {
  test("of the set-up, before there is anybody, end in words on a page", async () => {
    const running = await scene.start();
    origin = running.origin;
    const browser = new Browser(origin);
    const problems: string[] = [];
    const page = await browser.get(pathOf(running.identity.setUpLink ?? ""));
    expect(formsOf(page)).toHaveLength(1);
    expect(await tryForms({ what: "set-up", page, browser, others: { login: "!" } }, problems)).toBe(4 * PER_FIELD);
    expect(problems).toEqual([]);
    await running.stop();
    visitor = await OAuthVisitor.open(scene);
    origin = visitor.running.origin;
  }, 240_000);

  test("of every other page are answered with words, escaped, and lead nowhere", async () => {
    const anonymous = visitor.browse();
    const users = visitor.running.kernel.client(identityUsers.UserService, operator);
    await users.createUser({ login: "ben", email: "ben@example.org" });
    scene.hasMail = true;
    await users.updateUser({ user: "anna", email: "anna@example.org", updateMask: { paths: ["email"] } });
    const hasProof = () => scene.mails.some(({ text }) => text.includes("/sign-in/verify"));
    await waitFor(hasProof, { describe: "the mail with the link that proves the address" });
    const proof = scene.mails.map(({ text }) => /http\S+\/sign-in\/verify\S+/.exec(text)?.[0]).find(Boolean) ?? "";
    const linkOf = async (asked: Promise<{ link: string }>) => pathOf((await asked).link);
    const { browser: anna } = await visitor.authorize(await visitor.asked());
    const [atLogin, atConsent] = [visitor.browse(), visitor.browse()];
    const login = await atConsent.get(`/oidc/auth?${await visitor.asked()}`);
    const started = await visitor.ask("/device/auth", { scope: "openid hms" });
    const device = await anna.submit(await anna.get("/oidc/device"), { user_code: String(started.user_code) });
    const pages: [string, Answer, Browser][] = [
      ["sign-in", await anonymous.get("/sign-in?next=/sign-in/places"), anonymous],
      ["sign-in again", await anna.get("/sign-in/again"), anna],
      ["forgotten", await anonymous.get("/sign-in/forgot"), anonymous],
      ["verify", await anonymous.get(pathOf(proof)), anonymous],
      [
        "invitation",
        await anonymous.get(await linkOf(users.createInvitation({ user: "ben", print: true }))),
        anonymous,
      ],
      ["reset", await anonymous.get(await linkOf(users.createResetLink({ user: "anna", print: true }))), anonymous],
      ["places", await anna.get("/sign-in/places"), anna],
      ["change-password", await anna.get("/sign-in/change-password"), anna],
      ["set up an app", await anna.submit(await anna.get("/sign-in/factors"), {}, 0), anna],
      ["factors", await anna.get("/sign-in/factors"), anna],
      ["application's sign-in", await atLogin.get(`/oidc/auth?${await visitor.asked()}`), atLogin],
      ["application's sign-in that is over", login, atConsent],
      ["consent", await atConsent.submit(login, { login: "anna", password: visitor.password }), atConsent],
      ["device code", await anonymous.get("/oidc/device"), anonymous],
      ["device", device, anna],
      ["sign-out", await anna.get("/oidc/logout"), anna],
    ];
    const problems: string[] = [];
    const without: string[] = [];
    for (const [what, page, browser] of pages) {
      if ((await tryForms({ what, page, browser }, problems)) === 0) without.push(what);
    }
    expect(problems).toEqual([]);
    expect(without).toEqual([]);
    expect(used.size).toBe(naughtyStrings.length);
  }, 400_000);

  test("that a password may be are that password, exactly", async () => {
    await somebody(scene.database, "naughty");
    const users = visitor.running.kernel.client(identityUsers.UserService, operator);
    const fitting = naughtyStrings.filter((text) => [...text].length >= 15 && [...text].length <= 64);
    let taken = 0;
    for (const password of fitting.filter((_, index) => index % 17 === 0)) {
      const { link } = await users.createResetLink({ user: "naughty", print: true });
      const browser = visitor.browse();
      const set = await browser.submit(await browser.get(pathOf(link)), { password });
      expect(problemOf(set, password)).toBeUndefined();
      if (set.status !== 200) continue;
      taken += 1;
      const signedIn = await browser.submit(await browser.get("/sign-in"), { login: "naughty", password });
      expect([password, signedIn.body.includes("You are signed in as")]).toEqual([password, true]);
      await forgetAttempts();
    }
    expect(taken).toBeGreaterThan(5);
  }, 120_000);
});

describe("naughty strings in OAuth", () => {
  /** What is wrong with what an endpoint answers to a program. */
  async function problemAt(path: string, form: Record<string, string>, headers: Record<string, string> = {}) {
    const answer = await localFetch(`${origin}/oidc${path}`, {
      method: "POST",
      redirect: "manual",
      headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
      body: String(new URLSearchParams(form)),
    });
    const body = await answer.text();
    const head = Object.fromEntries(answer.headers);
    return { status: answer.status, headers: head, body, url: path } satisfies Answer;
  }

  test("in every parameter of an authorization request lead nowhere, and end on a page or at the application", async () => {
    const more = [
      "login_hint",
      "ui_locales",
      "acr_values",
      "max_age",
      "claims",
      "request",
      "request_uri",
      "response_mode",
    ];
    const names = [
      ...new Set([...(await visitor.asked()).keys(), ...more, "resource", "display", "id_token_hint", "iss"]),
    ];
    const problems: string[] = [];
    await eachOf(names, AT_ONCE, async (name) => {
      for (const text of someOf(PER_FIELD)) {
        const browser = visitor.browse();
        const query = await visitor.asked({ [name]: text });
        const answer = await browser.fetch("GET", `/oidc/auth?${query}`);
        const to = answer.headers.location;
        // The page that is shown next has the request in it.
        const page = typeof to === "string" && new URL(to, origin).origin === origin ? await browser.get(to) : answer;
        const problem = problemOf(answer, text) ?? problemOf(page, text);
        if (problem) problems.push(`${name} ${JSON.stringify(text.slice(0, 80))} ${problem}`);
      }
    });
    expect(problems).toEqual([]);
  }, 200_000);

  test("in every field of what programs send are refused with an error in JSON, never a failure", async () => {
    const basic = { authorization: `Basic ${btoa(`${visitor.wiki.clientId}:${visitor.wiki.secret}`)}` };
    const refresh = { grant_type: "refresh_token", refresh_token: "x" };
    const device = { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: "x" };
    const assertion = { client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" };
    const shapes: [string, Record<string, string>, Record<string, string>?][] = [
      ["/token", visitor.withCode("x", { resource: "urn:x" }), basic],
      ["/token", { ...refresh, scope: "hms", client_id: "hms-cli" }],
      ["/token", { ...device, client_id: "hms-cli" }],
      ["/token", { grant_type: "client_credentials", scope: "hms", client_id: "x", client_secret: "y" }],
      ["/token", { grant_type: "client_credentials", ...assertion, client_assertion: "x.y.z" }],
      ["/device/auth", { client_id: "hms-cli", scope: "openid hms", resource: "urn:x", claims: "{}" }],
      ["/token/introspection", { token: "x", token_type_hint: "access_token" }, basic],
      ["/token/revocation", { token: "x", token_type_hint: "refresh_token" }, basic],
      ["/logout", { id_token_hint: "x", post_logout_redirect_uri: "x", state: "x", client_id: visitor.wiki.clientId }],
      ["/me", { access_token: "x" }],
    ];
    const problems: string[] = [];
    await eachOf(shapes, AT_ONCE, async ([path, form, headers]) => {
      for (const name of [...Object.keys(form), "unheard_of"]) {
        for (const text of someOf(PER_FIELD)) {
          const answer = await problemAt(path, { ...form, [name]: text }, headers);
          const problem = problemOf(answer, text);
          if (problem) problems.push(`${path} ${name} ${JSON.stringify(text.slice(0, 80))} ${problem}`);
        }
      }
    });
    expect(problems).toEqual([]);
    expect(await problemAt("/token/introspection", { token: "x" }, basic)).toMatchObject({ status: 200 });
  }, 200_000);

  test("as the name and secret of a program, however they are written, are nobody's", async () => {
    const problems: string[] = [];
    // What is too long for the head of a request is refused before it is read.
    const fitting = naughtyStrings.filter((text) => text.length < 1000);
    await eachOf(fitting, AT_ONCE, async (text) => {
      const pair = `${encodeURIComponent(wellFormed(text))}:${encodeURIComponent(wellFormed(text))}`;
      for (const given of [pair, `${text}:${text}`]) {
        const authorization = `Basic ${Buffer.from(given).toString("base64")}`;
        const answer = await problemAt("/token", { grant_type: "client_credentials" }, { authorization });
        const problem = problemOf(answer, text) ?? (answer.status === 200 ? "is let in" : undefined);
        if (problem) problems.push(`${JSON.stringify(text.slice(0, 80))} ${problem}`);
      }
    });
    expect(problems).toEqual([]);
  }, 120_000);
});

/** Half characters cannot be sent. */
const wellFormed = (text: string) => Buffer.from(text).toString();
