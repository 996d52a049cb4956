import { spawn } from "node:child_process";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commands } from "../../apps/cli/src/command-table.ts";
import { echoService } from "./echo-service.ts";
import { hmsSys, type Platform, runCommand, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
  expect(await platform.cli("deploy", echoService(platform, { version: "1", replicas: 1 }))).toMatchObject({ code: 0 });
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const SLOW = "const until = Date.now() + 1500; while (Date.now() < until);";
const slowly = (version: string) => echoService(platform, { version, replicas: 1, before: SLOW });
const shell = (script: string) => runCommand(["sh", "-c", script], { ...platform.env, HMS_SYS: hmsSys });
const settled = () => platform.cli("status", "echo-svc", "--wait");

interface HistoryEntry {
  rolloutId: string;
  state: string;
  version: string;
}
const history = () => platform.json<HistoryEntry[]>("history", "echo-svc");

/** Runs a command, interrupts it as the terminal does once it has said `cue`, and answers with how it ended. */
function interrupted(cue: RegExp, ...args: string[]): Promise<{ code: number | null; said: string }> {
  return new Promise((done) => {
    const child = spawn(hmsSys, args, { env: platform.env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    const hear = (text: Buffer) => {
      const heard = cue.test(said);
      said += text;
      if (!heard && cue.test(said)) child.kill("SIGINT");
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("close", (code) => done({ code, said }));
  });
}

describe("watching a rollout", () => {
  test("ended by Ctrl-C exits 130, says how to watch on, and the rollout goes on", async () => {
    const { code, said } = await interrupted(/✓/, "deploy", slowly("interrupted"));
    expect({ code, said }).toMatchObject({ code: 130, said: expect.stringContaining("hms-sys watch") });
    expect(said).not.toMatch(/\n\s+at /);
    const id = said.match(/hms-sys watch (\S+)/)?.[1] ?? "";
    expect(await platform.cli("watch", id)).toMatchObject({ code: 0 });
    expect((await history())[0]).toMatchObject({
      rolloutId: id,
      state: "ROLLOUT_STATE_SUCCEEDED",
      version: "interrupted",
    });
  }, 60_000);

  test("ended by --timeout exits 5, and the rollout goes on", async () => {
    const { code, stderr } = await platform.cli("deploy", slowly("patient"), "--timeout", "1s");
    expect({ code, stderr }).toMatchObject({ code: 5, stderr: expect.stringContaining("hms-sys watch") });
    await settled();
    expect((await history())[0]).toMatchObject({ state: "ROLLOUT_STATE_SUCCEEDED", version: "patient" });
  }, 60_000);

  test("--timeout that is over before anything answered exits 5 as well, without a stack", async () => {
    const { code, stderr } = await platform.cli("deploy", slowly("hasty"), "--timeout", "1ms");
    expect({ code, stderr }).toMatchObject({ code: 5, stderr: expect.not.stringMatching(/\n\s+at /) });
    await settled();
  }, 60_000);

  test("given up by --detach leaves the id on stdout", async () => {
    const { code, stdout } = await platform.cli("restart", "echo-svc", "--detach");
    expect(code).toBe(0);
    expect(await platform.cli("watch", stdout.trim())).toMatchObject({ code: 0 });
  }, 60_000);
});

describe("following logs", () => {
  test("ended by Ctrl-C exits 130 as every interrupted command does, and says nothing of it", async () => {
    const { code, said } = await interrupted(/started: pid/, "logs", "echo-svc", "-f");
    expect({ code, said }).toMatchObject({ code: 130, said: expect.not.stringMatching(/error|\n\s+at /i) });
  }, 60_000);
});

describe("logs", () => {
  const TICK = 'let n = 0; setInterval(() => console.log("tick " + (n += 1)), 100);';
  interface Line {
    time: string;
    replicaId: string;
    text: string;
  }
  const lines = async (...args: string[]): Promise<Line[]> => {
    const { code, stdout, stderr } = await platform.cli("logs", "echo-svc", "-o", "json", ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
  };

  test("-f shows what is written from now on, until Ctrl-C", async () => {
    const file = echoService(platform, { version: "ticking", replicas: 2, before: TICK });
    expect(await platform.cli("deploy", file)).toMatchObject({ code: 0 });
    // One line was there before; the others came while it was followed.
    const cue = /(?:.* tick \d+\n){6}/;
    const { code, said } = await interrupted(cue, "logs", "echo-svc", "-f", "--tail", "1", "--grep", "tick");
    expect(code).toBe(130);
    expect(said).toMatch(cue);
  }, 60_000);

  test("--replica and --since show that replica's lines, and those from that moment on", async () => {
    const { replicas } = await platform.json<{ replicas: { replica: { spec: { replicaId: string } } }[] }>(
      "status",
      "echo-svc",
    );
    const replicaId = replicas[1]?.replica.spec.replicaId ?? "";
    const own = await lines("--replica", replicaId);
    expect(new Set(own.map((line) => line.replicaId))).toEqual(new Set([replicaId]));
    const { time = "" } = own.at(-3) ?? {};
    const since = await lines("--since", time);
    expect(new Set(since.map((line) => line.replicaId)).size).toBe(2);
    expect(since.filter((line) => Date.parse(line.time) < Date.parse(time))).toEqual([]);
    expect(since.filter((line) => line.replicaId === replicaId).slice(0, 3)).toEqual(
      own.filter((line) => Date.parse(line.time) >= Date.parse(time)).slice(0, 3),
    );
  }, 60_000);
});

test("`status --wait` that is over too early exits 5 and says where to look", async () => {
  expect(await platform.cli("deploy", slowly("waited"), "--detach")).toMatchObject({ code: 0 });
  const { code, stdout, stderr } = await platform.cli("status", "echo-svc", "--wait", "--timeout", "100ms");
  expect({ code, stderr }).toMatchObject({ code: 5, stderr: expect.stringContaining("hms-sys logs echo-svc") });
  expect(stdout).toContain("rollout ");
  expect(await settled()).toMatchObject({ code: 0 });
}, 60_000);

test("`plan` of another version exits 10 and names the difference", async () => {
  const { code, stdout } = await platform.cli("plan", slowly("planned"));
  expect({ code, stdout }).toMatchObject({ code: 10, stdout: expect.stringMatching(/version: waited → planned/) });
});

describe("a reader that leaves early", () => {
  test.each([
    "deploy $FILE -o json",
    "services",
    "history echo-svc",
    "explain manifest",
    "completion bash",
    "--help",
    "run echo-svc -- seq 1 200000",
    "logs echo-svc --tail 5000",
  ])(
    "of `%s` is not met with a stack trace",
    async (command) => {
      const line = command.replace("$FILE", slowly("head"));
      const { stderr } = await shell(`"$HMS_SYS" ${line} | head -1 >/dev/null`);
      expect(stderr).not.toMatch(/EPIPE|Error:|\n\s+at /);
      if (command.startsWith("deploy")) await settled();
    },
    60_000,
  );
});

describe("-o json", () => {
  const documents = [
    "services",
    "status",
    "status echo-svc",
    "history echo-svc",
    "doctor",
    "explain manifest",
    "plan FILE",
    "restart-component dataplane",
    "completion bash",
    "ffi list",
    "ffi describe hms.sys.mesh",
    "ffi explain hms.sys.mesh",
    "ffi policy",
    "ffi call hms.sys.mesh GetSnapshot",
    `ffi generate hms.sys.mesh --lang python --out "$HMS_DATA/../generated"`,
    "auth explain user:anna services:deploy echo-svc",
    "tls status",
    "runs list --label team",
    "audit search --limit 3",
    "audit verify",
    "whoami",
    "users create anna --roles viewer",
    "users create-admin root",
    "users list",
    "users show anna",
    "users update anna --name Anna",
    "users invite anna",
    "users reset anna",
    "users reset-factors anna",
    "users deactivate anna",
    "users activate anna",
    "roles put reader services:read",
    "roles list",
    "roles assign anna reader",
    "roles unassign anna reader",
    "roles delete reader",
    "groups put crew --description Crew",
    "groups list",
    "groups add crew anna",
    "groups remove crew anna",
    "groups delete crew",
    "service-accounts create batch --roles viewer",
    "service-accounts list",
    "service-accounts rotate batch",
    "service-accounts deactivate batch",
    "service-accounts activate batch",
    "clients create Wiki --redirect https://wiki.example.org/callback",
    "clients list",
    "identity-providers list",
    "signing-keys list",
    "secrets set word --from-file /proc/sys/kernel/ostype",
    "secrets list",
    "secrets reveal word",
    "secrets remove word --yes",
    "freeze nothing --for 1m --reason test",
    "freezes",
    "scale explain echo-svc",
    "unfreeze nothing",
    "previews",
    "signing-keys rotate",
    "part-key show",
    "sealing-key replace",
    "sealing-key forget",
    "workload-key replace",
    "workload-key forget --force",
    "database-key replace",
    "keys create ci --user anna",
    "keys list --user anna",
    "sessions list --user anna",
    "sessions revoke-all --user anna",
  ];
  const lines = [
    "deploy FILE",
    "watch ROLLOUT",
    "scale echo-svc 2",
    "restart echo-svc --detach",
    "logs echo-svc --tail 3",
    "run echo-svc -- sh -c 'echo out; echo err >&2; exit 3'",
    "stop echo-svc",
    "rollback echo-svc --to 1",
    "audit export",
    "rm echo-svc --yes",
  ];
  const errors = [
    "status nobody",
    "history ../x",
    "deploy /nowhere.yml",
    "scale echo-svc many",
    "scale echo-svc auto",
    "scale explain nobody",
    "previews extend nothing",
    "previews end nothing",
    "run nobody -- true",
    "secrets set word --value x",
    "secrets set 'a b' --from-file /proc/sys/kernel/ostype",
    "secrets set word --from-file /nowhere",
    "secrets set word --from-file /bin/sh",
    "secrets reveal nothing",
    "secrets remove nothing",
    "promote echo-svc",
    "retry nobody",
    "abort echo-svc --reason nothing",
    "pause nobody",
    "resume echo-svc --rollout other",
    "restart-component nobody",
    "explain nothing",
    "completion basic",
    "up",
    "ffi register grpc://127.0.0.1:1",
    "ffi diff hms.sys.mesh /nowhere.binpb",
    "clients delete nothing",
    "identity-providers put work --issuer http://127.0.0.1:1 --client-id hms",
    "identity-providers delete nothing",
    "users password </dev/null",
    "keys revoke nothing",
    "sessions revoke nothing",
    "sessions narrow nothing services:read",
    "serve --only nothing",
    "audit verify --from /nowhere.jsonl",
    "tls local --names a..b",
    "runs start /nowhere.yml",
    "runs show nothing",
    "runs watch nothing",
    "runs cancel nothing",
    "runs pause nothing",
    "runs resume nothing",
    "runs retry nothing",
    "runs approve nothing a",
    "runs reject nothing a",
    "runs redo nothing a",
    "runs logs nothing",
    "tls acme --names *.example.org --directory https://127.0.0.1:1/dir",
  ];
  /** Those that end the platform, change the machine, or wait for somebody have tests of their own. */
  const apart = ["setup", "down", "login", "logout", "ffi tap"];
  const run = async (command: string) => {
    const file = echoService(platform, { version: "json", replicas: 1 });
    const rollout = command.includes("ROLLOUT") ? ((await history())[0]?.rolloutId ?? "") : "";
    return shell(`"$HMS_SYS" ${command.replace("FILE", file).replace("ROLLOUT", rollout)} -o json`);
  };
  /** A command of our own takes options only before `--`. */
  const place = (command: string) => (command.startsWith("run ") ? command.replace(/^run/, "-o json run") : command);

  test("is asked of every command there is", () => {
    const asked = [...documents, ...lines, ...errors, ...apart];
    const isAsked = (name: string) => asked.some((line) => line === name || line.startsWith(`${name} `));
    expect(commands.map(({ name }) => name).filter((name) => !isAsked(name))).toEqual([]);
  });

  test.each(documents)(
    "of `%s` is one JSON document",
    async (command) => {
      const { stdout, stderr } = await run(command);
      expect(() => JSON.parse(stdout), `${stdout}\n${stderr}`).not.toThrow();
    },
    60_000,
  );

  test.each(errors)("of `%s` is one JSON document that says what is wrong", async (command) => {
    const { code, stdout } = await run(place(command));
    expect(code).toBeGreaterThan(0);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: expect.any(String), message: expect.any(String) } });
  });

  test.each(lines)(
    "of `%s` is JSON, line by line",
    async (command) => {
      const { stdout, stderr } = await run(place(command));
      const found = stdout.trimEnd().split("\n");
      expect(found.length, stderr).toBeGreaterThan(0);
      for (const line of found) expect(() => JSON.parse(line), `${line}\n${stderr}`).not.toThrow();
      await waitFor(
        async () =>
          (await platform.cli("services", "-o", "json")).stdout.includes('"rolloutId": ""') || command.startsWith("rm"),
        {
          deadlineMs: 15_000,
          describe: "no rollout runs",
        },
      );
    },
    60_000,
  );

  test("of `setup` is one JSON document, and changes nothing for who may not", async () => {
    const nobody = { uid: 65_534, gid: 65_534 };
    const asRoot = process.getuid?.() === 0;
    const { stdout } = await runCommand([hmsSys, "setup", "-o", "json"], platform.env, asRoot ? nobody : {});
    expect(Object.keys(JSON.parse(stdout))).toContainEqual(expect.stringMatching(/^(message|error)$/));
  });

  test("of `down` and `up` is JSON too, in which the gateway and the services are found", async () => {
    expect(JSON.parse((await platform.cli("down", "-o", "json")).stdout)).toEqual({ stopped: true });
    expect(JSON.parse((await platform.cli("down", "-o", "json")).stdout)).toEqual({ stopped: false });
    const { stdout, stderr } = await platform.cli("up", "--detach", "-o", "json");
    expect(JSON.parse(stdout), stderr).toMatchObject({ gateway: expect.stringMatching(/^http:/), services: [] });
  }, 60_000);
});
