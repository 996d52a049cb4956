import { loadavg } from "node:os";
import { openSealingKey } from "@hms/secrets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newTotpSecret, stepAt, totpCode } from "../../services/identity/src/factors/totp.ts";
import { putTotp } from "../../services/identity/src/factors/totp-store.ts";
import { type Answer, Browser } from "../../services/identity/src/testing/browser.ts";
import { type IdentityProcess, IdentityScene } from "../../services/identity/src/testing/identity-scene.ts";
import { PASSWORD, somebody } from "../../services/identity/src/testing/people.ts";
import { type Sample, welch } from "./welch.ts";

/** Of each kind; HMS_SOAK_SAMPLES for another number. */
// biome-ignore lint/style/noProcessEnv: the soak's own setting.
const SAMPLES = Number(process.env.HMS_SOAK_SAMPLES ?? 2000);
/** From here on two kinds are told apart (Goodwill et al., A testing methodology for side-channel resistance validation). */
const TOLD_APART = 4.5;
const NAMES = 20;

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  scene.hasMail = true;
  running = await scene.start();
  for (let n = 0; n < NAMES; n += 1) await somebody(scene.database, `known-${n}`);
  const proven = { email: "somebody@example.org", email_verified_at: new Date() };
  await scene.database.db.updateTable("account").set(proven).execute();
});
afterAll(() => scene[Symbol.asyncDispose]());

const forget = () => scene.database.db.deleteFrom("attempt").execute();

/** Milliseconds of each of two kinds, tried in random order, `SAMPLES` of each; after some that warm up. */
async function interleaved(kinds: readonly [Sample, Sample]): Promise<[number[], number[]]> {
  const times: [number[], number[]] = [[], []];
  for (let n = 0; n < 100; n += 1) await kinds[n % 2 === 0 ? 0 : 1](n);
  const order = Array.from({ length: 2 * SAMPLES }, (_, n) => n % 2);
  for (let n = order.length - 1; n > 0; n -= 1) {
    const other = Math.floor(Math.random() * (n + 1));
    [order[n], order[other]] = [order[other] ?? 0, order[n] ?? 0];
  }
  for (const [n, kind] of order.entries()) {
    // Nobody is held up by what was tried before.
    if (n % 40 === 0) await forget();
    times[kind === 0 ? 0 : 1].push(await kinds[kind === 0 ? 0 : 1](n));
  }
  return times;
}

function assertAlike(what: string, [one, other]: [number[], number[]]): void {
  const { t, cropped, means } = welch(one, other);
  const load = (loadavg()[0] ?? 0).toFixed(1);
  console.log(
    `${what}: t ${t.toFixed(2)}, without the slowest tenth ${cropped.toFixed(2)}; ` +
      `means ${means.map((mean) => mean.toFixed(3)).join(" and ")} ms; ${one.length} of each, load ${load}`,
  );
  expect(Math.max(Math.abs(t), Math.abs(cropped))).toBeLessThan(TOLD_APART);
}

/** Sends the form of a page again and again; each time as the first, with the same cookie. */
async function form(path: string): Promise<{ browser: Browser; csrf: string }> {
  const browser = new Browser(running.origin);
  const { body } = await browser.get(path);
  return { browser, csrf: /name="csrf" value="([^"]*)"/.exec(body)?.[1] ?? "" };
}

async function timed(work: () => Promise<Answer>, status: number): Promise<number> {
  const began = performance.now();
  const answer = await work();
  const took = performance.now() - began;
  expect(answer.status).toBe(status);
  return took;
}

test("a wrong password takes as long for logins that nobody has", async () => {
  const { browser, csrf } = await form("/sign-in");
  const tried = (kind: string) => (n: number) => {
    const sent = new URLSearchParams({ csrf, login: `${kind}-${n % NAMES}`, password: "wrong" });
    return timed(() => browser.fetch("POST", "/sign-in", sent), 422);
  };
  assertAlike("sign-in", await interleaved([tried("known"), tried("nobod")]));
});

test("the wait for a new password's answer, and for the next page, is as long for logins that nobody has", async () => {
  const { browser, csrf } = await form("/sign-in/forgot");
  const after: Record<string, number[]> = { known: [], nobod: [] };
  const asked = (kind: "known" | "nobod") => async (n: number) => {
    const sent = new URLSearchParams({ csrf, login: `${kind}-${n % NAMES}` });
    const took = await timed(() => browser.fetch("POST", "/sign-in/forgot", sent), 200);
    after[kind]?.push(await timed(() => browser.fetch("GET", "/sign-in"), 200));
    return took;
  };
  const answers = await interleaved([asked("known"), asked("nobod")]);
  assertAlike("forgotten password", answers);
  assertAlike("the page after it", [after.known ?? [], after.nobod ?? []]);
  expect(scene.mails.length).toBeGreaterThan(SAMPLES / 4);
});

test("a code that was good, and is used up, takes as long as one that never was", async () => {
  const accountId = await somebody(scene.database, "with-app");
  const secret = newTotpSecret();
  const sealing = openSealingKey(scene.keyFile);
  await putTotp(scene.database.db, sealing, { accountId, secret, step: stepAt(Date.now()) + 1000 });
  const { browser, csrf } = await form("/sign-in");
  const begin = async () => {
    const sent = new URLSearchParams({ csrf, login: "with-app", password: PASSWORD });
    const { body } = await browser.fetch("POST", "/sign-in", sent);
    return /name="ceremony" value="([^"]*)"/.exec(body)?.[1] ?? "";
  };
  let ceremony = await begin();
  const shown = (codeOf: () => string) => async () => {
    const code = codeOf();
    const began = performance.now();
    const { body } = await browser.fetch("POST", "/sign-in", new URLSearchParams({ csrf, ceremony, code }));
    const took = performance.now() - began;
    ceremony = /name="ceremony" value="([^"]*)"/.exec(body)?.[1] ?? (await begin());
    await forget();
    return took;
  };
  const used = shown(() => totpCode(secret, stepAt(Date.now())));
  const wrong = shown(() => totpCode(secret, stepAt(Date.now()) + 500));
  assertAlike("used and wrong codes", await interleaved([used, wrong]));
});

test("the measure tells apart what differs by a twentieth of a millisecond", async () => {
  const slow = (ms: number) => async () => {
    const noise = Math.random();
    return 5 + noise + ms;
  };
  const [one, other] = await interleaved([slow(0), slow(0.05)]);
  expect(Math.abs(welch(one, other).t)).toBeGreaterThan(TOLD_APART);
});
