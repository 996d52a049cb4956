import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, onTestFinished, test } from "vitest";
import { until } from "../../test/support/test-machine.ts";
import { adoptProcess, LogWriter, launchProcess, pumpLogs, readLaunchStatus, shellQuote } from "../index.ts";

function place(): string {
  const root = mkdtempSync(`${tmpdir()}/hms-launch-`);
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

const toolPath = "/usr/bin:/bin";
const env = { PATH: toolPath };

describe("a platform process, launched without a sandbox", () => {
  test("gets its arguments and environment unchanged, writes to rotated logs and ends by the signal it wants", async () => {
    const root = place();
    const words = ["it's", '"quoted"', "$HOME", "two words", "*", "new\nline"];
    const script = `process.on("SIGINT", () => process.exit(7)); console.log(JSON.stringify(process.argv.slice(1))); setInterval(() => {}, 1000)`;
    const program = await launchProcess({
      stateDirectory: `${root}/state`,
      label: "server",
      attempt: 3,
      command: `exec ${shellQuote(process.execPath, "-e", script, "--", ...words)}`,
      env: { ...env, TRICKY: "a'b\"c$d\ne" },
      workingDirectory: "/",
      toolPath,
    });
    const log = new LogWriter(`${root}/log`);
    const pump = pumpLogs(program, log);
    const stored = () => readFileSync(`${root}/log/00000001.log`, "utf8");
    await until(() => {
      try {
        return stored().includes("new");
      } catch {
        return false;
      }
    }, "the arguments in the log");
    expect(JSON.parse(stored().trim().split(" o ")[1] ?? "")).toEqual(words);
    const { pid } = (await program.waitForMain()) ?? { pid: 0 };
    const environ = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    expect(environ).toContain("TRICKY=a'b\"c$d\ne");
    expect((await program.stop(5000, "SIGINT")).code).toBe(7);
    await pump.done;
    await log.close();
    expect(readLaunchStatus(`${root}/state`)).toMatchObject({ attempt: 3, contained: false, end: { code: 7 } });
  });

  test("is adopted by another process after its agent died, and cannot be started twice", {
    timeout: 20_000,
  }, async () => {
    const root = place();
    const options = {
      stateDirectory: `${root}/state`,
      label: "server",
      attempt: 1,
      env,
      workingDirectory: "/",
      toolPath,
    };
    const launcher = `
      import { launchProcess } from ${JSON.stringify(new URL("../index.ts", import.meta.url).href)};
      await launchProcess({ ...${JSON.stringify(options)}, command: "echo from before; exec sleep 1000" });
      process.kill(process.pid, "SIGKILL");
    `;
    const agent = spawn(process.execPath, ["--input-type=module", "-e", launcher], { stdio: "inherit" });
    await once(agent, "exit");
    expect(agent.signalCode).toBe("SIGKILL");
    const again = launchProcess({ ...options, command: "true" });
    await expect(again).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    const program = await adoptProcess(`${root}/state`);
    expect(program?.main?.pid).toBeGreaterThan(1);
    const said = once(program?.stdout.stream() ?? process.stdin, "data");
    expect(String(await said)).toBe("from before\n");
    expect(await program?.stop(1000)).toMatchObject({ code: -1, signal: "SIGTERM" });
    expect(await adoptProcess(`${root}/state`)).toBeUndefined();
  });

  test("says why it cannot be launched", async () => {
    const root = place();
    const options = { stateDirectory: `${root}/state`, label: "server", attempt: 1, env, toolPath, command: "true" };
    const refused = launchProcess({ ...options, workingDirectory: "/", controlGroups: ["/no/such/group"] });
    await expect(refused).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("/no/such/group"),
    });
    const program = await launchProcess({ ...options, workingDirectory: "/no/such/directory" });
    expect((await program.ended).code).toBe(126);
    program.detach();
  });
});
