import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openServiceDatabase } from "@hms/postgres";
import { type IdentityTables, identityMigrations } from "@hms/service-identity";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { Browser } from "../../services/identity/src/testing/browser.ts";
import { PASSWORD, somebody } from "../../services/identity/src/testing/people.ts";
import type { LoginHostTerms } from "./login-host.ts";

/** People who sign in at the same time, again and again, each with a right password. */
const PEOPLE = 32;
const ROUNDS = 3;

/**
 * How much longer a turn of the event loop takes at the 99.9th percentile while people sign in than while nobody does;
 * idle and storm in turn, the middle of three rounds.
 */
export async function loginStorm(quick: boolean): Promise<{ figures: Record<string, number>; ratio: number }> {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const { source } = stack.use(await startTestPostgres(paths, { settings: "" }));
  const options = { source, service: "identity", migrations: identityMigrations };
  const database = stack.use(await openServiceDatabase<IdentityTables>(options));
  for (let n = 0; n < PEOPLE; n += 1) await somebody(database, `person-${n}`);
  const terms: LoginHostTerms = { paths, keyFile: paths.sealingKey };
  const host = fork(fileURLToPath(new URL("./login-host.ts", import.meta.url)), [JSON.stringify(terms)]);
  const ended = once(host, "exit");
  stack.defer(async () => {
    host.kill("SIGKILL");
    await ended;
  });
  const [origin] = (await once(host, "message")) as [string];
  const p999Ms = async (): Promise<number> => {
    host.send("read");
    return ((await once(host, "message")) as [number])[0];
  };
  const ms = quick ? 2000 : 10_000;
  // What Node compiles, and loads with the first password, is no part of it.
  await storm(origin, 2000);
  const idle: number[] = [];
  const busy: number[] = [];
  let logins = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    await p999Ms();
    await delay(ms);
    idle.push(await p999Ms());
    logins += await storm(origin, ms);
    busy.push(await p999Ms());
  }
  const figures = {
    login_storm_loop_idle_p999_ms: rounded(middle(idle)),
    login_storm_loop_p999_ms: rounded(middle(busy)),
    login_storm_per_s: rounded(logins / ((ms * ROUNDS) / 1000)),
  };
  return { figures, ratio: rounded(middle(busy) / middle(idle)) };
}

const rounded = (value: number) => Math.round(value * 100) / 100;
const middle = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Sign-ins for a time; answers how many were let in. */
async function storm(origin: string, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let logins = 0;
  const person = async (n: number) => {
    const browser = new Browser(origin);
    const { body } = await browser.get("/sign-in");
    const csrf = /name="csrf" value="([^"]*)"/.exec(body)?.[1] ?? "";
    const form = new URLSearchParams({ csrf, login: `person-${n}`, password: PASSWORD });
    while (performance.now() < until) {
      const { status } = await browser.fetch("POST", "/sign-in", form);
      if (status !== 303) throw new Error(`A sign-in was answered with ${status}.`);
      logins += 1;
    }
  };
  await Promise.all(Array.from({ length: PEOPLE }, (_, n) => person(n)));
  return logins;
}
