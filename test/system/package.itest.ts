import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { isThorough, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, runCommand, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");

/** The operator's environment without what the checkout puts in front of PATH. */
const env: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.startsWith(root))
    .join(delimiter),
};

async function succeed(command: string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand(command, env, { cwd });
  if (code !== 0) throw new Error(`${command.join(" ")} exited ${code}: ${stdout}${stderr}`);
  return stdout;
}

const MANIFEST = `name: own-svc
version: 0.0.1
run:
  command: python3 own.py
routes:
  - path: /own
    methods: [GET]
health:
  http: /healthz
`;
const PROGRAM = `import http.server, os
class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"own")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Own).serve_forever()
`;

const install = ["npm", "install", "--silent", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-timeout=30000"];

/** The commands of the guide that replace part after part, each as its words after `hms-sys`. */
function upgradeCommands(): string[][] {
  const guide = readFileSync(join(root, "docs/guide/operating.md"), "utf8");
  const block = /part after part[^`]*```sh\n(.*?)```/s.exec(guide)?.[1] ?? "";
  const commands = block.trim().split("\n");
  if (commands.length !== 3) throw new Error(`the guide has another block than the three commands: ${block}`);
  return commands.map((line) => line.replace(/ +#.*/, "").split(" ").slice(1));
}

/** The archive of the same package under another version. */
async function packedAs(version: string, place: string): Promise<string> {
  const archive = readdirSync(place).find((name) => name.endsWith(".tgz")) ?? "";
  await succeed(["tar", "-xzf", archive], place);
  const manifest = join(place, "package/package.json");
  const content = JSON.parse(readFileSync(manifest, "utf8"));
  writeFileSync(manifest, JSON.stringify({ ...content, version }));
  await succeed(["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", place], join(place, "package"));
  return join(place, `hms-sys-${version}.tgz`);
}

describe("the package", () => {
  const place = mkdtempSync(join(tmpdir(), "hms-package-"));
  const folder = join(place, "an empty folder");
  let platform: Platform;

  beforeAll(async () => {
    mkdirSync(folder);
    await succeed(["npm", "pack", "--silent", "--pack-destination", place], root);
    const archive = readdirSync(place).find((name) => name.endsWith(".tgz")) ?? "";
    await succeed([...install, `../${archive}`], folder);
    const program = join(folder, "node_modules/.bin/hms-sys");
    platform = await startPlatform({
      home: mkdtempSync(join(tmpdir(), "hms-")),
      program,
      env: { PATH: env.PATH ?? "" },
    });
    // Two installations by npm, on a machine that may have much else to do.
  }, 400_000);
  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]();
    rmSync(place, { recursive: true, force: true });
  }, 60_000);

  test("starts from compiled JavaScript and needs no checkout", async () => {
    const installed = join(folder, "node_modules/hms-sys");
    expect(existsSync(join(installed, "apps"))).toBe(false);
    for (const component of ["agent", "server", "dataplane"]) {
      const command = readFileSync(`/proc/${await platform.pidOf(component)}/cmdline`, "utf8");
      expect(command).toContain(`${installed}/dist/${component}.js`);
      expect(command).not.toContain(root);
    }
  });

  test("deploys a service of one's own, completes its name, and forgets nothing over a new start", async () => {
    const manifest = platform.service("own", MANIFEST, { "own.py": PROGRAM });
    const { code, stdout, stderr } = await platform.cli("deploy", manifest);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: "Service URL: http://own-svc.mesh/own\n" });
    expect(await (await fetch(platform.url("/own"))).text()).toBe("own");
    expect(await platform.cli("__complete", "status", "o")).toMatchObject({ stdout: "own-svc\t0.0.1\n" });
    expect(await platform.cli("down")).toMatchObject({ code: 0 });
    await platform.start();
    expect(await (await fetch(platform.url("/own"))).text()).toBe("own");
  });

  test("brings the manifest's schema, the examples, the guides, the unit file and the bill of materials with it", () => {
    const installed = join(folder, "node_modules/hms-sys");
    for (const file of [
      "README.md",
      "LICENSE",
      "docs/guide/first-deploy.md",
      "deploy/systemd/hms-sys.service",
      "examples/receipt/receipt.hms.yml",
      "packages/manifest/hms-manifest.schema.json",
      "dist/bill-of-materials.cdx.json",
    ]) {
      expect(existsSync(join(installed, file)), file).toBe(true);
    }
  });

  test("explains itself while nothing runs, from a folder with a blank in its name", async () => {
    const program = join(folder, "node_modules/.bin/hms-sys");
    expect(dirname(program)).toContain(" ");
    expect(await succeed([program, "explain", "health.http"], place)).toContain("any 2xx or 3xx answer is healthy");
  });

  test.runIf(isThorough)(
    "is replaced by another version part after part, as the guide says, and no request is lost",
    async () => {
      const next = await packedAs("9.8.7", place);
      const versions = async () => [
        (await platform.cli("--version")).stdout.trim(),
        (await platform.json<{ version: string }>("status")).version,
      ];
      const [before] = await versions();
      expect(await versions()).toEqual([before, before]);
      expect(await platform.cli("deploy", echoService(platform, { version: "1" }))).toMatchObject({ code: 0 });
      const pids = await Promise.all(["agent", "server", "dataplane"].map((name) => platform.pidOf(name)));
      await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 50 });
      await waitFor(() => load.records.length > 50, { describe: () => "the load runs" });

      await succeed([...install, next], folder);
      // What runs is the old version still, and commands of the new one work with it.
      expect(await versions()).toEqual(["9.8.7", before]);
      for (const command of upgradeCommands()) {
        const { code, stderr } = await platform.cli(...command);
        expect({ command, code, stderr }).toMatchObject({ code: 0 });
      }
      const sent = load.records.length;
      await waitFor(() => load.records.length > sent + 50, { describe: () => "the load goes on" });

      expect(failures(await load.stop())).toEqual([]);
      expect(await versions()).toEqual(["9.8.7", "9.8.7"]);
      const now = await Promise.all(["agent", "server", "dataplane"].map((name) => platform.pidOf(name)));
      for (const pid of now) expect(pids).not.toContain(pid);
      const services = await platform.json<{ name: string }[]>("services");
      expect(services.map(({ name }) => name)).toEqual(["echo-svc", "own-svc"]);
    },
    400_000,
  );
});
