import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collectProcesses, isThorough, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeCheckout } from "./checkouts.ts";
import { leavePlace, linkStateHome } from "./places.ts";
import { runCommand } from "./platform.ts";

let home: string;
const started: Starting[] = [];
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "hms-"));
});
afterAll(async () => {
  // A test that failed in the middle leaves its installation to us.
  for (const one of started) one.interrupt();
  await Promise.all(started.map(({ code }) => code));
  rmSync(home, { recursive: true, force: true });
}, 60_000);

interface Starting {
  folder: string;
  readonly said: string;
  code: Promise<number>;
  interrupt(): void;
}

function start(folder: string, env: NodeJS.ProcessEnv): Starting {
  const child = spawn("sh", ["script/start"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      said += text;
    });
  }
  const starting: Starting = {
    folder,
    get said() {
      return said;
    },
    code: new Promise((done) => child.once("close", (code) => done(code ?? -1))),
    interrupt: () => void child.kill("SIGINT"),
  };
  started.push(starting);
  return starting;
}

/** Slow: two checkouts are compiled; played by `npm run test:thorough`. */
const thoroughly = test.skipIf(!isThorough);

thoroughly(
  "of two clones that start at once in one home one runs, the other exits 6 and says why; side by side both do",
  async () => {
    const [one, two] = ["one", "two"].map((name) => makeCheckout(join(home, name), { ready: true }));
    const instance = `t${process.pid}`;
    const places = { XDG_CONFIG_HOME: join(home, "c"), XDG_STATE_HOME: linkStateHome(join(home, "s")) };
    const env = { ...process.env, ...places, HMS_INSTANCE: instance };
    const processes = collectProcesses(home);
    const racing = [start(one ?? "", env), start(two ?? "", env)];
    const { loser, code } = await Promise.race(racing.map(async (each) => ({ loser: each, code: await each.code })));
    expect({ code, said: loser.said }).toMatchObject({ code: 6, said: expect.stringContaining(`"${instance}"`) });
    expect(loser.said).toContain(`--instance ${instance}-2`);
    const winner = racing.find((each) => each !== loser);
    await waitFor(() => winner?.said.includes("Ctrl-C stops everything") ?? false, {
      deadlineMs: 90_000,
      describe: () => `the other one is ready; it said: ${winner?.said}`,
    });
    const [gateway = ""] = /http:\/\/localhost:\d+/.exec(winner?.said ?? "") ?? [];
    const pay = async () => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${gateway}/pay`, { method: "POST", headers, body: '{"email":"a@b.c","amount":12}' });
      return answer.json();
    };
    expect(await pay()).toMatchObject({ ok: true });

    const beside = (...args: string[]) =>
      runCommand([join(loser.folder, "hms-sys"), ...args, "--instance", `${instance}-2`], env);
    expect(await beside("up", "--detach")).toMatchObject({ code: 0 });
    expect(await beside("services", "-o", "json")).toMatchObject({ code: 0, stdout: "[]\n" });
    expect(await pay()).toMatchObject({ ok: true });
    expect(await beside("down")).toMatchObject({ code: 0 });
    expect(await pay()).toMatchObject({ ok: true });
    winner?.interrupt();
    expect(await winner?.code).toBe(0);
    await processes.assertNoneLeft();
    for (const each of [instance, `${instance}-2`]) leavePlace(each);
  },
  180_000,
);

test("two bootstraps of one clone at once install once: the second waits, and finds the work done", async () => {
  const folder = makeCheckout(join(home, "fresh"), { ready: false });
  const programs = join(home, "programs");
  mkdirSync(programs);
  const journal = join(home, "journal");
  // In npm's place one that notes what it is asked for, and is slow; it brings a Node that compiles nothing. The real one is
  // in the soak suite.
  writeFileSync(
    join(programs, "npm"),
    `#!/bin/sh
echo "begin $1" >>'${journal}'
while [ ! -e '${journal}.go' ]; do sleep 0.05; done
mkdir -p node_modules/.bin
printf '#!/bin/sh\nmkdir -p dist\n: >dist/.stamp\n' >node_modules/.bin/node
chmod +x node_modules/.bin/node
echo "end $1" >>'${journal}'
`,
  );
  chmodSync(join(programs, "npm"), 0o755);
  const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
  const said = () => {
    try {
      return readFileSync(journal, "utf8").trim().split("\n");
    } catch {
      return [];
    }
  };
  const running = [1, 2].map(() => runCommand(["sh", "script/bootstrap"], env, { cwd: folder }));
  await waitFor(() => said().length > 0, { describe: "the first has begun" });
  writeFileSync(`${journal}.go`, "");
  const results = await Promise.all(running);
  expect(results.map(({ code }) => code)).toEqual([0, 0]);
  expect(results.filter(({ stderr }) => stderr.includes("Installing dependencies"))).toHaveLength(1);
  expect(said()).toEqual(["begin install", "end install", "begin ci", "end ci", "begin ci", "end ci"]);
}, 60_000);
