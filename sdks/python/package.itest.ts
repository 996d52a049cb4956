import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { tempFolder } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const python = process.env.PYTHON ?? "python3";
const CHECK = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";
const usable = spawnSync(python, ["-c", CHECK], { stdio: "ignore" }).status === 0;

const stack = new AsyncDisposableStack();
let folder = "";
let env: NodeJS.ProcessEnv = {};
const run = (program: string, ...args: string[]) => spawnSync(program, args, { cwd: folder, env, encoding: "utf8" });
const own = () => join(folder, "venv/bin/python");

beforeAll(() => {
  if (!usable) return;
  folder = stack.use(tempFolder()).path;
  // No index, nothing from elsewhere: what is missing makes pip fail.
  env = { PATH: process.env.PATH, HOME: folder, PIP_NO_INDEX: "1", PIP_DISABLE_PIP_VERSION_CHECK: "1" };
  expect(run(python, "-m", "venv", "venv")).toMatchObject({ status: 0 });
}, 120_000);
afterAll(() => stack.disposeAsync());

describe.skipIf(!usable)("the Python SDK, where Python can make virtual environments", () => {
  test("is installed from its folder without a network, and runs", () => {
    const { status, stderr } = run(own(), "-m", "pip", "install", "--quiet", import.meta.dirname);
    expect([status, stderr]).toEqual([0, ""]);
    const program = "import hms_ffi, hms_ffi.service; print(hms_ffi.__version__, hms_ffi.__file__)";
    expect(run(own(), "-c", program).stdout).toMatch(/^0\.1\.0 .*site-packages/);
    expect(run(own(), "-m", "pip", "check").stdout).toContain("No broken requirements");
    expect(run(own(), "-m", "pip", "show", "-f", "hms-ffi").stdout).toContain("hms_ffi/py.typed");
  }, 120_000);

  test("makes a wheel and an archive of its sources that can be installed from", () => {
    const build = (hook: string) =>
      run(
        own(),
        "-c",
        `import sys; sys.path.insert(0, ${JSON.stringify(join(import.meta.dirname, "build_backend"))})
import wheel_builder; print(wheel_builder.${hook}("."))`,
      ).stdout.trim();
    expect(build("build_wheel")).toBe("hms_ffi-0.1.0-py3-none-any.whl");
    const archive = build("build_sdist");
    expect(archive).toBe("hms_ffi-0.1.0.tar.gz");
    const { status, stderr } = run(own(), "-m", "pip", "install", "--quiet", "--force-reinstall", archive);
    expect([status, stderr]).toEqual([0, ""]);
    expect(run(own(), "-c", "import hms_ffi.client; print('there')").stdout).toBe("there\n");
  }, 120_000);
});
