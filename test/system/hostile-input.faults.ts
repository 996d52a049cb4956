import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { machineSlowness } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
let folder = "";
beforeAll(async () => {
  platform = await startPlatform();
  folder = join(platform.data, "..", "hostile");
  mkdirSync(folder);
  expect(await platform.cli("deploy", echoService(platform, { version: "1", replicas: 1 }))).toMatchObject({ code: 0 });
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const bomb = `a: &a [x, x, x, x, x, x, x, x, x]
${["b", "c", "d", "e", "f", "g", "h", "i"].map((key, index) => `${key}: &${key} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(", ")}]`).join("\n")}
name: *i
`;
const manifests: Record<string, string | Buffer> = {
  "10 MB of text": `name: big\nrun:\n  command: "${"x".repeat(10 * 1024 * 1024)}"\n`,
  "20 MB of text": Buffer.alloc(20 * 1024 * 1024, "x"),
  "a YAML bomb": bomb,
  "YAML nested ten thousand deep": "[".repeat(10_000),
  "a merge key bomb": `x: &x {a: 1}\ny: &y {<<: [${Array(500).fill("*x").join(",")}]}\nname: {<<: [${Array(500).fill("*y").join(",")}]}\n`,
  "binary garbage": Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919) % 256)),
  nothing: "",
  "a list": "- name: x\n",
  "a path for a name": 'name: ../x\nversion: "1"\nrun:\n  command: "true"\n',
  "a directory outside": 'name: fine\nversion: "1"\nrun:\n  command: "true"\n  directory: ../../../etc\n',
};
const notNames = ["../x", "..", ".", "/etc/passwd", "a/b", "", "A", "a".repeat(64), "x\ny", "%2e%2e%2fx", "-"];
const takingAName: [string, ...string[]][] = [
  ["status"],
  ["logs"],
  ["scale", "2"],
  ["run", "--", "true"],
  ["rm", "--yes"],
  ["rollback"],
  ["restart"],
  ["stop"],
  ["history"],
];

/** Folders a path in a name could have led to. */
const outside = () =>
  [platform.data, dirname(platform.data), join(platform.data, "agent")].map((at) => readdirSync(at));
const survivor = () => platform.json<{ service: { health: string; revision: string } }>("status", "echo-svc");

describe("a manifest that is", () => {
  test.each(Object.keys(manifests))("%s is refused with exit code 2 in no time", async (kind) => {
    const file = join(folder, "hostile.hms.yml");
    writeFileSync(file, manifests[kind] ?? "");
    for (const command of kind === "a YAML bomb" ? ["deploy", "plan"] : ["deploy"]) {
      const began = performance.now();
      const { code, stdout, stderr } = await platform.cli(command, file);
      expect({ code, stdout, stderr: stderr.slice(0, 300) }).toEqual({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining("hostile.hms.yml"),
      });
      expect(stderr.length).toBeLessThan(4000);
      const tookMs = performance.now() - began;
      expect(tookMs).toBeLessThan(2000 * (await machineSlowness()));
    }
  });

  test("a folder, or not there at all, is refused with exit code 2", async () => {
    for (const [file, words] of [
      [folder, "is a directory"],
      [join(folder, "nobody.yml"), "does not exist"],
    ] as const) {
      expect(await platform.cli("deploy", file)).toMatchObject({ code: 2, stderr: expect.stringContaining(words) });
    }
  });

  test("wrong in many ways shows all of it at once, with line, column and the nearest key", async () => {
    const file = platform.service(
      "wrong",
      "name: ../x\nversoin: 1\nrun:\n  comand: true\nscaling:\n  min: -1\n  max: lots\n",
    );
    const { code, stderr } = await platform.cli("deploy", file);
    expect(code).toBe(2);
    for (const words of ["1:7", "../x", "version", "command", "scaling.min", "scaling.max"])
      expect(stderr).toContain(words);
    const asJson = await platform.cli("deploy", file, "-o", "json");
    expect(JSON.parse(asJson.stdout).error.fieldViolations.length).toBeGreaterThanOrEqual(5);
  });
});

describe("what is no name", () => {
  test.each(takingAName)(
    "is refused by %s, and nothing is made of it",
    async (command, ...rest) => {
      const before = outside();
      for (const name of command === "status" ? notNames : ["../x", ""]) {
        const words = name === "-" ? ["--", name] : [name];
        const { code, stderr } = await platform.cli(command, ...words, ...rest);
        expect({ name, code, stderr }).toMatchObject({ code: 2, stderr: expect.not.stringMatching(/\n\s+at /) });
      }
      expect(outside()).toEqual(before);
    },
    60_000,
  );

  test("is refused as an environment, an instance and a replica", async () => {
    expect(await platform.cli("services", "-e", "../x")).toMatchObject({ code: 2 });
    expect(await platform.cli("services", "--instance", "../x")).toMatchObject({ code: 2 });
    expect(await platform.cli("logs", "echo-svc", "--replica", "../../../../etc/passwd")).toMatchObject({ code: 2 });
    expect(existsSync(join(folder, "x"))).toBe(false);
  });
});

test("after all of this the platform serves as before", async () => {
  expect(await survivor()).toMatchObject({ service: { health: "SERVICE_HEALTH_HEALTHY", revision: "1" } });
  expect((await platform.json<unknown[]>("services")).length).toBe(1);
  expect((await fetch(platform.url("/echo-svc"))).status).toBe(200);
});
