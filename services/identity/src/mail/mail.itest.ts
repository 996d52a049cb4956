import { identityUsers } from "@hms/contracts";
import type { HmsError, Principal } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Browser } from "../testing/browser.ts";
import { codeOf, type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

const PASSWORD = "four words nobody joined";

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});
beforeEach(() => {
  scene.hasMail = true;
  scene.mails.length = 0;
});

const users = (who: Principal = operator) => running.kernel.client(identityUsers.UserService, who);
const browse = () => new Browser(running.origin);
const linkIn = (text = "") => {
  const { pathname, search } = new URL(/http:\S+/.exec(text)?.[0] ?? "");
  return pathname + search;
};
async function mailed(to: string, count = 1) {
  await waitFor(() => scene.mails.filter((mail) => mail.to === to).length >= count, { describe: `mail to ${to}` });
  return scene.mails.findLast((mail) => mail.to === to);
}
const userOf = async (login: string) => (await users().getUser({ user: login })).user;

/** Somebody who was invited by mail and has come in. */
async function invited(login: string) {
  const email = `${login}@example.org`;
  await users().createUser({ login, email });
  await users().createInvitation({ user: login });
  const browser = browse();
  await browser.submit(await browser.get(linkIn((await mailed(email))?.text)), { password: PASSWORD });
  scene.mails.length = 0;
  return email;
}

test("an invitation is mailed to the address that was given, is good once, and proves it", async () => {
  await users().createUser({ login: "anna", email: "anna@example.org" });
  const { link, mailedTo } = await users().createInvitation({ user: "anna" });
  expect([link, mailedTo]).toEqual(["", "anna@example.org"]);
  expect(await userOf("anna")).toMatchObject({ emailVerified: false });
  const path = linkIn((await mailed("anna@example.org"))?.text);
  const browser = browse();
  await browser.submit(await browser.get(path), { password: PASSWORD });
  expect(await userOf("anna")).toMatchObject({ emailVerified: true, hasPassword: true });
  expect((await browser.get(path)).status).toBe(404);
  // Whoever asks for it gets the link itself, and so does everybody where there is no mail.
  expect((await users().createInvitation({ user: "anna", print: true })).link).toContain("/sign-in/password?token=");
  scene.hasMail = false;
  expect((await users().createInvitation({ user: "anna" })).mailedTo).toBe("");
});

test("a new password is mailed to a proven address alone, and tells nobody which logins there are", async () => {
  const email = await invited("ben");
  await users().createUser({ login: "unproven", email: "unproven@example.org" });
  const bodies = new Set<string>();
  for (const login of ["ben", "unproven", "nobody-at-all"]) {
    const browser = browse();
    bodies.add((await browser.submit(await browser.get("/sign-in/forgot"), { login })).body);
  }
  expect([...bodies]).toEqual([expect.stringContaining("a link is on its way")]);
  const path = linkIn((await mailed(email))?.text);
  expect(scene.mails.map(({ to }) => to)).toEqual([email]);
  const browser = browse();
  await browser.submit(await browser.get(path), { password: "another four joined words" });
  // The owner hears of it, in case it was somebody else.
  expect((await mailed(email, 2))?.text).toContain("The password was changed");
  expect((await browser.get(path)).status).toBe(404);
  const { link, mailedTo } = await users().createResetLink({ user: "unproven" });
  expect([link, mailedTo]).toEqual([expect.stringContaining("token="), ""]);
});

test("asking for new passwords again and again fills nobody's mailbox", async () => {
  const email = await invited("carl");
  for (let n = 0; n < 12; n += 1) {
    const browser = browse();
    await browser.submit(await browser.get("/sign-in/forgot"), { login: "carl" });
  }
  await waitFor(() => scene.mails.length >= 5, { describe: "the first mails" });
  expect(scene.mails.filter(({ to }) => to === email).length).toBeLessThan(8);
});

test("a changed address is nobody's until it is proven by its mail, and the one before hears of it", async () => {
  const email = await invited("dora");
  const { userId = "" } = (await userOf("dora")) ?? {};
  const dora: Principal = { kind: "user", id: userId, roles: ["viewer"], authenticatedAtMs: Date.now() };
  await users().createResetLink({ user: "dora" });
  const stale = linkIn((await mailed(email))?.text);
  await users(dora).updateProfile({ email: "d@example.net" });
  expect((await mailed(email, 2))?.text).toContain("The mail address was changed");
  // What was mailed to the address before is worth nothing any more.
  expect((await browse().get(stale)).status).toBe(404);
  expect(await userOf("dora")).toMatchObject({ email: "d@example.net", emailVerified: false });
  const path = linkIn((await mailed("d@example.net"))?.text);
  // Looking at the link, as mail filters do, proves nothing; nor is it a link for a password.
  const browser = browse();
  const page = await browser.get(path);
  expect(await userOf("dora")).toMatchObject({ emailVerified: false });
  expect((await browser.get(path.replace("/verify", "/password"))).status).toBe(404);
  expect((await browser.submit(page, {})).body).toContain("Confirmed");
  expect(await userOf("dora")).toMatchObject({ emailVerified: true });
  expect((await browser.submit(page, {})).status).toBe(404);
});

test("a link that proves one address does not prove the one that came after it", async () => {
  await invited("emil");
  const { userId = "" } = (await userOf("emil")) ?? {};
  const emil: Principal = { kind: "user", id: userId, roles: ["viewer"], authenticatedAtMs: Date.now() };
  await users(emil).updateProfile({ email: "mine@example.net" });
  const page = await browse().get(linkIn((await mailed("mine@example.net"))?.text));
  expect(page.status).toBe(200);
  await users(emil).updateProfile({ email: "victim@example.net" });
  await mailed("victim@example.net");
  const browser = browse();
  expect((await browser.get(linkIn((await mailed("mine@example.net"))?.text))).status).toBe(404);
  expect(await userOf("emil")).toMatchObject({ email: "victim@example.net", emailVerified: false });
  scene.mails.length = 0;
  expect((await users(emil).sendEmailVerification({})).mailedTo).toBe("victim@example.net");
  scene.hasMail = false;
  expect(await codeOf(users(emil).sendEmailVerification({}))).toBe("FAILED_PRECONDITION");
});

test.each([
  "a@b.c\r\nBcc: x@example.org",
  "a@b.c,x@example.org",
  "Anna <a@b.c>",
  "a b@c.d",
  "a@b@c",
  "@b.c",
  "a@",
  "a@b.c\0",
  "a;b@c.d",
  '"x"@b.c',
])("%j is no mail address", async (email) => {
  expect(await codeOf(users().createUser({ login: "bad-mail", email }))).toBe("INVALID_ARGUMENT");
  const refused = await users()
    .updateUser({ user: "anna", email })
    .catch((error: HmsError) => error);
  expect(refused).toMatchObject({ details: { fieldViolations: [{ field: "email" }] } });
});
