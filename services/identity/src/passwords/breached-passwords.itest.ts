import { identityUsers } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../testing/browser.ts";
import { type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

const LEAKED = "a phrase that somebody lost";
const GOOD = "four words nobody joined";
const NEXT = "another four joined words";
const WHY = "has leaked somewhere";

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  scene.breached = new Set([LEAKED]);
  running = await scene.start();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

const users = (who: Principal = operator) => running.kernel.client(identityUsers.UserService, who);
const browse = () => new Browser(running.origin);
const pathOf = (link = "") => new URL(link).pathname + new URL(link).search;
const isIn = async (browser: Browser) => (await browser.get("/sign-in")).body.includes("You are signed in as");

async function tryLink(link: string | undefined, password: string, more: Record<string, string> = {}) {
  const browser = browse();
  const { status, body } = await browser.submit(await browser.get(pathOf(link)), { password, ...more });
  return { status, body, browser };
}

async function comesIn(login: string, password: string): Promise<Browser> {
  const browser = browse();
  await browser.submit(await browser.get("/sign-in"), { login, password });
  return browser;
}

const PAGE = "/sign-in/change-password";
const changeOnPage = async (browser: Browser, current: string, password: string) =>
  browser.submit(await browser.get(PAGE), { current, password });

async function principalOf(browser: Browser): Promise<Principal> {
  const token = browser.cookies.get("__Host-hms_session")?.value ?? "";
  return (await running.identity.tokens.principalOf(token)) ?? expect.unreachable();
}

test("a password that has leaked is taken at the set-up, from an invitation, from a reset and as a change by nobody", async () => {
  const first = await tryLink(running.identity.setUpLink, LEAKED, { login: "first" });
  expect([first.status, first.body]).toEqual([422, expect.stringContaining(WHY)]);
  expect(await isIn((await tryLink(running.identity.setUpLink, GOOD, { login: "first" })).browser)).toBe(true);

  await users().createUser({ login: "anna" });
  const { link: invitation } = await users().createInvitation({ user: "anna" });
  const invited = await tryLink(invitation, LEAKED);
  expect([invited.status, invited.body]).toEqual([422, expect.stringContaining(WHY)]);
  expect((await tryLink(invitation, GOOD)).status).toBe(200);

  const { link: reset } = await users().createResetLink({ user: "anna" });
  const forgot = await tryLink(reset, LEAKED);
  expect([forgot.status, forgot.body]).toEqual([422, expect.stringContaining(WHY)]);

  const anna = await comesIn("anna", GOOD);
  const changed = await changeOnPage(anna, GOOD, LEAKED);
  expect([changed.status, changed.body]).toEqual([422, expect.stringContaining(WHY)]);
  const called = users(await principalOf(anna)).changePassword({ currentPassword: GOOD, newPassword: LEAKED });
  await expect(called).rejects.toThrow(WHY);
  expect([await isIn(await comesIn("anna", LEAKED)), await isIn(await comesIn("anna", GOOD))]).toEqual([false, true]);
  expect(scene.failures).toEqual([]);
});

test("while the list cannot be used no password is taken, people come in as before, and who runs it hears why", async () => {
  scene.breached = undefined;
  const anna = await comesIn("anna", GOOD);
  expect(await isIn(anna)).toBe(true);
  const refused = await changeOnPage(anna, GOOD, NEXT);
  expect([refused.status, refused.body]).toEqual([400, expect.stringContaining("hms-sys doctor")]);
  expect(refused.body).not.toContain("the list is gone");
  const called = users(await principalOf(anna)).changePassword({ currentPassword: GOOD, newPassword: NEXT });
  await expect(called).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  expect(scene.failures.map(String)).toEqual([1, 2].map(() => expect.stringContaining("the list is gone")));
  scene.breached = new Set();
  expect((await changeOnPage(anna, GOOD, NEXT)).body).toContain("Your password is changed");
});
