import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, test } from "vitest";

const unit = resolve(import.meta.dirname, "../../deploy/systemd/hms-sys.service");

test.runIf(spawnSync("systemd-analyze", ["--version"]).status === 0)("systemd takes the unit file as it is", () => {
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
  expect(stderr.split("\n").filter((line) => line.includes("hms-sys.service"))).toEqual([]);
  expect(status).toBe(0);
});
