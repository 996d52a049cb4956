import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { collectProcesses, machineSlowness, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failures, startLoad } from "./open-loop-load.ts";
import { hmsSys, type Platform, runCommand, startPlatform } from "./platform.ts";
import { isAlive } from "./sudden-death.ts";

const root = resolve(import.meta.dirname, "../..");
const receipt = resolve(root, "examples/receipt/receipt.hms.yml");
/** npm ends as its shell does, by the SIGINT that both got from the terminal. */
const ended = 130;
/** The two examples, by their names. */
const services = ["receipt", "payment"];

const has = (shell: string) => spawnSync(shell, ["-c", "exit"]).error === undefined;

let platform: Platform;
let firstWords: string;
/** On an idle machine, with everything downloaded. */
let firstStartMs: number;
beforeAll(async () => {
  const starter = ["python3", join(import.meta.dirname, "terminal.py"), "npm", "--prefix", root, "start"];
  const slowness = await machineSlowness();
  const began = performance.now();
  // On a terminal, as nobody's continuous integration.
  platform = await startPlatform({ starter, env: { CI: "", TERM: "xterm", NO_COLOR: "" } });
  firstStartMs = (performance.now() - began) / slowness;
  firstWords = platform.said;
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

async function pay(): Promise<{ ok: boolean; ref: string }> {
  const response = await fetch(platform.url("/pay"), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"email":"a@b.c","amount":12}',
  });
  expect(response.status).toBe(200);
  return (await response.json()) as { ok: boolean; ref: string };
}

/** What the terminal shows at last of each line: without colours, and without what was overwritten. */
function shown(said: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal is told.
  const plain = said.replace(/\u001b\[\d*(?:;\d+)*m/g, "").replaceAll("\r\n", "\n");
  return plain.split("\n").map((line) => line.slice(line.lastIndexOf("\u001b[2K") + 1).replace("[2K", ""));
}

/** The commands of the README's tour, for this installation. */
function tour(): string {
  const page = readFileSync(join(root, "README.md"), "utf8");
  const [, block = ""] = /## Five minutes[\s\S]*?```sh\n([\s\S]*?)```/.exec(page) ?? [];
  expect(block).toContain("localhost:3000");
  return block.replaceAll("localhost:3000", new URL(platform.url("")).host);
}

describe("`npm start` on a terminal", () => {
  test("is ready within 30 s the first time", () => {
    expect(firstStartMs).toBeLessThan(30_000);
  });

  test("shows the step that runs and its age, then each step with its time", () => {
    expect(firstWords).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Preparing the release .* ms/u);
    const lines = shown(firstWords);
    for (const step of ["Release prepared", "Replicas 1 and 2 of 2 healthy", "Revision 1 serves"]) {
      expect(
        lines.some((line) => line.startsWith(`✓ ${step}`) && /\(.* m?s\)$/.test(line)),
        step,
      ).toBe(true);
    }
  });

  test("says where everything answers, and three commands to go on with", () => {
    const lines = shown(firstWords);
    expect(lines).toContain(`Gateway: ${platform.url("").replace("127.0.0.1", "localhost")}`);
    expect(lines).toContain("Service URL: http://receipt-svc.mesh/receipt");
    expect(lines).toContain("Service URL: http://payment-svc.mesh/pay");
    const next = lines.slice(lines.indexOf("Try next:") + 1, lines.indexOf("Try next:") + 4).map((line) => line.trim());
    expect(next).toEqual([
      expect.stringContaining("curl -X POST"),
      "./hms-sys services",
      expect.stringMatching(/^\.\/hms-sys logs receipt-svc/),
    ]);
  });

  test("prints commands that work as pasted", async () => {
    const [, curl = ""] = /^ {2}(curl .*)$/m.exec(shown(firstWords).join("\n")) ?? [];
    expect(await inShell(curl)).toMatch(/^\{"ok":true,"ref":"R-/);
  });
});

/** Runs a script as it stands in the checkout, and answers with what it prints. */
async function inShell(script: string, shell = "sh"): Promise<string> {
  const { code, stdout, stderr } = await runCommand(
    [shell, shell === "fish" ? "-c" : "-ec", `cd '${root}'\n${script}`],
    platform.env,
  );
  expect({ script, code, stderr }).toMatchObject({ code: 0 });
  return stdout;
}

test("the README's tour works as pasted", async () => {
  const said = await inShell(tour());
  expect(said).toMatch(/^\{"ok":true,"ref":"R-/);
  expect(said).toMatch(/receipt-svc \(default\): .*2 of 2 replicas ready/);
  expect(said).toContain("Sent receipt to a@b.c");
  expect(said).toContain("Zero downtime: yes");
  expect(said).toContain("Service URL: http://receipt-svc.mesh/receipt\n");
  expect(said).toMatch(/mesh tier: [12]/);
}, 180_000);

describe("a newcomer", () => {
  test("pays through the gateway: Python calls Node by its mesh name", async () => {
    expect(await pay()).toEqual({ ok: true, ref: expect.stringMatching(/^R-\d+/) });
  });

  test("sees both services healthy, as the tour has scaled them", async () => {
    const services = await platform.json<{ name: string; health: string; replicasReady: number }[]>("services");
    expect(services).toMatchObject([
      { name: "payment-svc", health: "SERVICE_HEALTH_HEALTHY" },
      { name: "receipt-svc", health: "SERVICE_HEALTH_HEALTHY", replicasReady: 3 },
    ]);
  });

  test("deploys with one command that ends with the service's URL on stdout", async () => {
    const { code, stdout, stderr } = await platform.cli("deploy", receipt);
    expect(stderr).toContain("✓");
    expect(stdout).toBe("Service URL: http://receipt-svc.mesh/receipt\n");
    expect(code).toBe(0);
  });

  test("reads what a service wrote", async () => {
    await pay();
    const { stdout } = await platform.cli("logs", "receipt-svc", "--tail", "50", "--grep", "a@b.c");
    expect(stdout).toContain("Sent receipt to a@b.c");
  });

  test("runs one command in a service's surroundings, mesh names included", async () => {
    const script = "import urllib.request as u; print(u.urlopen('http://receipt-svc.mesh/healthz').status)";
    const { code, stdout } = await platform.cli("run", "payment-svc", "--", "python3", "-c", script);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "200\n" });
  });

  test("gets the exit code of the command", async () => {
    expect((await platform.cli("run", "payment-svc", "--", "sh", "-c", "exit 7")).code).toBe(7);
  });

  test("sees a plan with its verdict on downtime, and exit code 0 when nothing changes", async () => {
    const { code, stdout } = await platform.cli("plan", receipt);
    expect(stdout).toContain("nothing in the program's files changes");
    expect(stdout).toContain("Zero downtime: yes");
    expect(code).toBe(0);
  });

  test("can replace a called service and the data plane while people pay: none of them notices", async () => {
    const body = '{"email":"a@b.c","amount":12}';
    await using load = startLoad({ url: platform.url("/pay"), method: "POST", body, perSecond: 20 });
    await waitFor(() => load.records.length > 20, { describe: () => "people pay" });
    for (const command of ["restart receipt-svc", "restart-component dataplane", "restart payment-svc"]) {
      expect(await platform.cli(...command.split(" "))).toMatchObject({ code: 0 });
    }
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    expect(records.every(({ body: said }) => said.includes('"ok":true'))).toBe(true);
  }, 60_000);

  test("finds no problem with the doctor, and the mesh tier named", async () => {
    const { code, stdout } = await platform.cli("doctor");
    expect(stdout).toMatch(/mesh tier: [12]/);
    expect(code).toBe(0);
  });

  test("finds everything as it was after Ctrl-C, which leaves nothing running, and a new start", async () => {
    const state = async () => ({
      services: await Promise.all(services.map((name) => platform.json<object>("history", `${name}-svc`))),
      running: (await platform.json<Record<string, unknown>[]>("services")).map(
        ({ name, revision, replicasWanted, urls }) => ({ name, revision, replicasWanted, urls }),
      ),
    });
    const before = await state();
    const processes = collectProcesses(dirname(platform.data));
    const pids = await ownPids();
    expect(await platform.stop()).toBe(ended);
    expect(platform.said.trimEnd().endsWith("Stopped.")).toBe(true);
    await processes.assertNoneLeft();
    expect(pids.filter(isAlive)).toEqual([]);
    const began = performance.now();
    const [tookMs, slowness] = await Promise.all([
      platform.start().then(() => performance.now() - began),
      machineSlowness(),
    ]);
    expect(tookMs).toBeLessThan(5000 * slowness);
    expect(platform.said).toContain("receipt-svc: http://receipt-svc.mesh/receipt");
    expect(platform.said).toMatch(/payment-svc: http:\/\/payment-svc\.mesh\/pay/);
    expect(platform.said).toMatch(/Try next:\s+curl .*\s+\S+ services\s+\S+ logs receipt-svc -f\s/);
    expect(await pay()).toMatchObject({ ok: true });
    expect(await state()).toEqual(before);
  }, 180_000);

  test("gets names completed by bash, as the README says", async () => {
    expect(await completed("./hms-sys", "status", "rec")).toEqual(["receipt-svc"]);
    expect(await completed("./hms-sys", "comp")).toEqual(["completion"]);
    expect(await completed(hmsSys, "explain", "manifest.scaling.m")).toEqual([
      "manifest.scaling.min",
      "manifest.scaling.max",
      "manifest.scaling.max_replica_hours",
    ]);
  });

  test.skipIf(!has("zsh"))("gets names completed by zsh, where it is installed", async () => {
    const script = `autoload -Uz compinit; compinit -D; source <(./hms-sys completion zsh)
_describe() { print -l -- "\${(@P)2}" }
words=(./hms-sys status rec); CURRENT=3; _hms_sys`;
    expect(await inShell(script, "zsh")).toMatch(/^receipt-svc:/);
  });

  test.skipIf(!has("fish"))("gets names completed by fish, where it is installed", async () => {
    const script = `set -x PATH ${root} $PATH; hms-sys completion fish | source; complete -C "hms-sys status rec"`;
    expect(await inShell(script, "fish")).toMatch(/^receipt-svc\t/);
  });

  test("is told what to do when the name of a service is wrong", async () => {
    const { code, stderr } = await platform.cli("status", "recept-svc");
    expect(stderr).toContain("receipt-svc");
    expect(code).toBe(1);
  });

  test("gets JSON errors under -o json", async () => {
    const { stdout } = await platform.cli("status", "nobody", "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "NOT_FOUND" } });
  });
});

/** What bash offers for the last word. */
async function completed(...words: string[]): Promise<string[]> {
  const list = words.map((word) => `'${word}'`).join(" ");
  const script = `source <(./hms-sys completion bash); COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}
"$(complete -p hms-sys | sed 's/.*-F \\([^ ]*\\).*/\\1/')"; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return (await inShell(script, "bash")).trimEnd().split("\n");
}

/** Everything of the installation that runs: its own processes and all replicas. */
async function ownPids(): Promise<number[]> {
  const { components } = await platform.json<{ components: { pid: string }[] }>("status");
  const replicas = await Promise.all(
    services.map((name) => platform.json<{ replicas: { replica: { pid: string } }[] }>("status", `${name}-svc`)),
  );
  const pids = [...components, ...replicas.flatMap((one) => one.replicas.map(({ replica }) => replica))];
  return pids.map(({ pid }) => Number(pid));
}
