import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sweepServiceSockets } from "./service-sockets.ts";

test("what nobody answers at goes; sockets in use, what is young, and what a link leads to stay", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hms-sockets-"));
  try {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(join(folder, "live"), resolve));
    const dead = `require("node:net").createServer().listen(${JSON.stringify(join(folder, "dead"))}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", dead]);
    writeFileSync(join(folder, "junk"), "x");
    mkdirSync(join(folder, "empty"));
    mkdirSync(join(folder, "full"));
    writeFileSync(join(folder, "full", "kept"), "x");
    symlinkSync(join(folder, "full", "kept"), join(folder, "link"));
    await sweepServiceSockets(folder, Date.now());
    expect(readdirSync(folder).sort()).toEqual(["dead", "empty", "full", "junk", "link", "live"]);
    await sweepServiceSockets(folder, Date.now() + 61_000);
    expect(readdirSync(folder).sort()).toEqual(["full", "live"]);
    expect(readdirSync(join(folder, "full"))).toEqual(["kept"]);
    await new Promise<void>((resolve) => server.close(() => resolve()));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
