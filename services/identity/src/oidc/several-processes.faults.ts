import { isThorough } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { IdentityDatabase } from "../identity-tables.ts";
import { type KillableIdentity, openKillScene } from "../testing/killable-identity.ts";
import { approvedDevice, deviceTokens, refreshed, signedIn, somebody } from "../testing/people.ts";

/** Several processes of one installation, as behind one address, on one database. */
const stack = new AsyncDisposableStack();
let database: IdentityDatabase;
let processes: KillableIdentity[];
let first: KillableIdentity;
let startAnother: () => Promise<KillableIdentity>;
beforeAll(async () => {
  const scene = await openKillScene(stack);
  ({ database } = scene);
  startAnother = scene.start;
  first = await scene.start();
  processes = [first, ...(await Promise.all([scene.start(), scene.start()]))];
}, 120_000);
afterAll(() => stack.disposeAsync());

/** The process whose turn it is. */
const nth = (index: number) => processes[index % processes.length] ?? first;
const FIFTY = Array.from({ length: 50 }, (_, index) => index);

async function person(login: string) {
  const accountId = await somebody(database, login);
  const { browser } = await signedIn(database, first.browse(), accountId);
  return { accountId, browser };
}

/** As if the ten seconds in which answers may get lost were over. */
async function later(accountId: string): Promise<void> {
  const waits = () =>
    database.db
      .selectFrom("oidc_artifact")
      .select("kind")
      .where("account_id", "=", accountId)
      .where("kind", "=", "RefreshToken")
      .where("delivered_at", "is", null)
      .execute();
  await expect.poll(waits).toEqual([]);
  const long = new Date(Date.now() - 3_600_000);
  const used = database.db.updateTable("oidc_artifact").set({ consumed_at: long }).where("account_id", "=", accountId);
  await used.where("consumed_at", "is not", null).execute();
}

test("a device code that is polled fifty times at three processes yields one grant, and one session in the list", async () => {
  const { accountId, browser } = await person("dora");
  const code = await approvedDevice(first, browser);
  const polls = FIFTY.map((index) => deviceTokens(nth(index), code).catch((error: { error?: string }) => error.error));
  const answers = await Promise.all(polls);
  const got = answers.filter((answer) => typeof answer === "object");
  expect([got.length, new Set(answers.filter((answer) => typeof answer === "string"))]).toEqual([
    1,
    new Set(["invalid_grant"]),
  ]);
  for (const at of processes) expect(await at.whoIs(got[0]?.access_token ?? "")).toMatchObject({ login: "dora" });
  const grants = database.db.selectFrom("oidc_artifact").select("kind").where("account_id", "=", accountId);
  expect(await grants.where("kind", "=", "Grant").execute()).toHaveLength(1);
}, 120_000);

test("fifty refreshes of one token at three processes log nobody out, and one chain goes on: the other's use ends both", async () => {
  const { accountId, browser } = await person("rita");
  const { refresh_token: token } = await deviceTokens(first, await approvedDevice(first, browser));
  const all = await Promise.all(FIFTY.map((index) => refreshed(nth(index), token)));
  for (const index of [0, 20, 49]) {
    expect(await nth(index + 1).whoIs(all[index]?.access_token ?? "")).toMatchObject({ login: "rita" });
  }
  await later(accountId);
  // They go on at the same moment at several processes, as a thief and his victim would.
  const [mine, theirs] = await Promise.all(all.map((one, index) => refreshed(nth(index), one.refresh_token)));
  await later(accountId);
  const next = await refreshed(first, mine?.refresh_token);
  expect(await nth(1).whoIs(next.access_token)).toMatchObject({ login: "rita" });
  await later(accountId);
  await expect(refreshed(nth(1), theirs?.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
  await expect(refreshed(nth(2), next.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
  for (const at of processes) {
    await expect.poll(() => at.whoIs(next.access_token), { timeout: 1000 * processes.length }).toBeUndefined();
  }
}, 120_000);

test("a used token that is shown fifty times at once after its grace lets nobody in, and ends the login once and for all", async () => {
  const { accountId, browser } = await person("theo");
  const { refresh_token: stolen } = await deviceTokens(first, await approvedDevice(first, browser));
  const kept = await refreshed(first, stolen);
  await later(accountId);
  const answers = await Promise.allSettled(FIFTY.map((index) => refreshed(nth(index), stolen)));
  expect(answers.filter(({ status }) => status === "fulfilled")).toEqual([]);
  await expect(refreshed(nth(1), kept.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
  const left = database.db.selectFrom("oidc_artifact").select("kind").where("account_id", "=", accountId);
  expect((await left.execute()).map(({ kind }) => kind).filter((kind) => /Grant|Token/.test(kind))).toEqual([]);
}, 120_000);

test("what a process took back that was killed before telling of it, the others forget when it is back", async () => {
  const { accountId, browser } = await person("vera");
  const { access_token: token } = await deviceTokens(first, await approvedDevice(first, browser));
  for (const at of processes) expect(await at.whoIs(token)).toMatchObject({ login: "vera" });
  await database.db.updateTable("account").set({ active: false }).where("account_id", "=", accountId).execute();
  expect(await nth(1).whoIs(token)).toMatchObject({ login: "vera" });
  await startAnother();
  for (const at of processes) await expect.poll(() => at.whoIs(token), { timeout: 1000 }).toBeUndefined();
}, 120_000);

test.skipIf(!isThorough)(
  "a process that was never told of a new signing key signs with it, and knows it, within a minute",
  async () => {
    const { browser } = await person("kim");
    const { refresh_token: token } = await deviceTokens(nth(1), await approvedDevice(nth(1), browser));
    // As a process does that is killed before it tells anybody.
    await database.transaction(async (queries) => {
      await queries
        .updateTable("signing_key")
        .set({ state: "retiring", retired_at: new Date() })
        .where("state", "=", "current")
        .execute();
      await queries.updateTable("signing_key").set({ state: "current" }).where("state", "=", "next").execute();
    });
    const [current] = await database.db
      .selectFrom("signing_key")
      .select("kid")
      .where("state", "=", "current")
      .execute();
    let shown = token;
    const kid = async () => {
      const { access_token: access, refresh_token: next } = await refreshed(nth(1), shown);
      shown = next;
      expect(await nth(2).whoIs(access)).toMatchObject({ login: "kim" });
      return (JSON.parse(Buffer.from(access.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid;
    };
    await expect.poll(kid, { timeout: 70_000, interval: 5000 }).toBe(current?.kid);
  },
  120_000,
);
