import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { expect, test } from "vitest";

const DEVICE = "/dev/full";

test.runIf(existsSync(DEVICE))("a log whose disk is full ends no process", () => {
  const program = `
    import { createLogger } from ${JSON.stringify(new URL("./logger.ts", import.meta.url).href)};
    const log = createLogger("p");
    for (let n = 0; n < 1000; n += 1) log.error("x".repeat(200), { n });
    process.stdout.write("lived on");
  `;
  const full = openSync(DEVICE, "w");
  try {
    const args = ["--input-type=module", "-e", program];
    const { stdout, status } = spawnSync(process.execPath, args, { stdio: ["ignore", "pipe", full] });
    expect({ status, said: stdout.toString() }).toEqual({ status: 0, said: "lived on" });
  } finally {
    closeSync(full);
  }
});
