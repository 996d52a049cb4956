import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";

const folder = import.meta.dirname;
const python = process.env.PYTHON ?? "python3";

const run = (...args: string[]) => spawnSync(python, args, { cwd: folder, encoding: "utf8", timeout: 120_000 });
const installed = run("-c", "import sys; sys.exit(sys.version_info < (3, 9))").status === 0;

describe.skipIf(!installed)("the Python SDK", () => {
  test("passes its own tests", { timeout: 150_000 }, () => {
    const { status, stderr } = run("-W", "ignore", "-m", "unittest", "discover", "-t", ".", "-s", "tests");
    expect(status, stderr).toBe(0);
  });

  test("needs nothing but the standard library", () => {
    const { status, stderr } = run(
      "-S",
      "-c",
      "import hms_ffi.client, hms_ffi.service, hms_ffi.events, hms_ffi.operations, hms_ffi.worker",
    );
    expect(status, stderr).toBe(0);
  });
});
