import { cpSync } from "node:fs";
import { dirname, join } from "node:path";
import { resolveInstance } from "@hms/config";
import { Client } from "@hms/ffi";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { configOf, writePolicies } from "./ffi-services/deployed.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const deploy = (version: string, rollout: string, ...more: string[]) =>
  platform.cli("deploy", echoService(platform, { version, replicas: 2, rollout }), ...more);

async function versionFor(headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(platform.url("/echo-svc"), { headers });
  return ((await response.json()) as { version: string }).version;
}

/** Waits until the rollout that runs is at a step of this title, by what a person sees. */
async function untilStep(title: RegExp, service = "echo-svc"): Promise<string> {
  const services = await platform.json<{ name: string; rolloutId?: string }[]>("services");
  const { rolloutId = "" } = services.find(({ name }) => name === service) ?? {};
  let said = "";
  await waitFor(
    async () => {
      said = (await platform.cli("watch", rolloutId, "--timeout", "2s", "-o", "json")).stdout;
      return title.test(said);
    },
    { deadlineMs: 60_000, describe: () => `the rollout to be at ${title}: ${said.slice(-4000)}` },
  );
  return rolloutId;
}

const LOAD = { method: "POST", body: '{"x":1}', perSecond: 150 } as const;

describe("both versions side by side, behind the real gateway", () => {
  test("a canary gets its share of the clients, who stay with it, and everything when promoted; no request fails", async () => {
    expect((await deploy("1", "")).code).toBe(0);
    await using load = startLoad({ ...LOAD, url: platform.url("/echo-svc") });
    const rollout = "strategy: canary, promote: manual, steps: [{share: 20%}], sticky: 'header:x-client', warm: 1s";
    expect((await deploy("2", rollout, "--detach")).code).toBe(0);
    await untilStep(/Waiting at 20 %/);
    const versions = await Promise.all(
      Array.from({ length: 200 }, (_, n) => versionFor({ "x-client": `client-${n}` })),
    );
    const again = await Promise.all(Array.from({ length: 200 }, (_, n) => versionFor({ "x-client": `client-${n}` })));
    expect(again).toEqual(versions);
    const tried = versions.filter((version) => version === "2").length;
    expect(tried).toBeGreaterThan(15);
    expect(tried).toBeLessThan(70);
    expect(await versionFor({ "x-hms-revision": "2" })).toBe("2");
    const { code, stdout } = await platform.cli("promote", "echo-svc", "--reason", "looks well");
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining("is promoted") });
    await waitFor(async () => (await versionFor()) === "2", {
      deadlineMs: 30_000,
      describe: () => "version 2 everywhere",
    });
    expect((await platform.cli("status", "echo-svc", "--wait")).code).toBe(0);
    expect(failures(await load.stop())).toEqual([]);
  }, 180_000);

  test("server and data plane are killed while a canary waits: it waits on, and aborting it gives the old one everything", async () => {
    const rollout = "strategy: canary, promote: manual, steps: [{share: 50%}], sticky: request";
    const deploying = deploy("3", rollout);
    await waitFor(
      async () => ((await platform.json<{ rolloutId?: string }[]>("services"))[0]?.rolloutId ?? "") !== "",
      {
        deadlineMs: 30_000,
        describe: () => "the rollout runs",
      },
    );
    await untilStep(/Waiting at 50 %/);
    for (const component of ["server", "dataplane"]) process.kill(await platform.pidOf(component), "SIGKILL");
    const seen = new Set<string>();
    await waitFor(
      async () => {
        for (let n = 0; n < 20; n += 1) seen.add(await versionFor().catch(() => ""));
        return seen.has("2") && seen.has("3");
      },
      { deadlineMs: 30_000, describe: () => "both versions answer after the kill" },
    );
    await waitFor(async () => (await platform.cli("abort", "echo-svc", "--reason", "it was killed")).code === 0, {
      deadlineMs: 30_000,
      describe: () => "the abort is taken",
    });
    const { code, stderr } = await deploying;
    expect(code).toBe(3);
    expect(stderr).toContain("Aborted by");
    expect(stderr).toContain("it was killed");
    const after = await Promise.all(Array.from({ length: 40 }, () => versionFor()));
    expect(new Set(after)).toEqual(new Set(["2"]));
  }, 180_000);

  test("blue-green by --bg switches under load without a failed request", async () => {
    await using load = startLoad({ ...LOAD, url: platform.url("/echo-svc") });
    const { code, stderr } = await deploy("4", "warm: 1s, strategy: blue-green", "--bg");
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("Preview open") });
    expect(await versionFor()).toBe("4");
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    // One after the other: once the new version answers, the old one does not any more.
    const order = records.toSorted((a, b) => a.startedAt - b.startedAt).map(({ body }) => body.includes('"4"'));
    const first = order.indexOf(true);
    expect(order.slice(first + 200).every(Boolean)).toBe(true);
  }, 120_000);
});

describe("direct calls of programs with an SDK", () => {
  /** A service without a word of HTTP but its health, whose method says which version answers. */
  const speaker = (version: string, rollout: string, ...more: string[]) => {
    const file = platform.service(
      "speaker-svc",
      `name: speaker-svc
version: "${version}"
run: {command: exec python3 speaker.py}
scaling: {min: 2, max: 2, by: none}
health: {tcp: true, interval: 200ms, min_healthy_time: 200ms}
rollout: {deadline: 60s, ${rollout}}
${version === "1" ? "" : "gates: [{gve: demo.speaker.v1.SpeakerService/Values, name: values}]"}
`,
      {
        "speaker.py": `import os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from hms_ffi.service import method, serve, service

@service("demo.speaker")
class Speaker:
    @method(repeatable=True)
    def speak(self) -> dict:
        return {"version": "${version}"}

    @method(repeatable=True)
    def values(self) -> dict:
        return {"status": "${version === "3" ? "RED" : "GREEN"}", "reason": "the books of ${version}"}

health = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), BaseHTTPRequestHandler)
threading.Thread(target=health.serve_forever, daemon=True).start()
serve(Speaker())
`,
      },
    );
    cpSync(join(import.meta.dirname, "../../sdks/python/hms_ffi"), join(dirname(file), "hms_ffi"), {
      recursive: true,
      filter: (name) => !name.endsWith("__pycache__"),
    });
    return platform.cli("deploy", file, ...more);
  };

  test("are divided as requests are: 20 % go to the canary, and all when it is promoted", async () => {
    const { kernelSocket } = resolveInstance({ instance: platform.instance, data: platform.data });
    const { token } = configOf(platform);
    await using client = new Client("demo.speaker", { registryUrl: `unix:${kernelSocket}`, token });
    const answer = async () => ((await client.call("Speak", {})) as { version: string }).version;
    writePolicies(platform, [{ service: "demo.speaker", method: "Values", allowed_roles: ["service:speaker-svc"] }]);
    expect((await speaker("1", "strategy: rolling")).code).toBe(0);
    await waitFor(async () => (await answer().catch(() => "")) === "1", { deadlineMs: 60_000, describe: "an answer" });
    expect((await platform.cli("status", "speaker-svc", "--wait")).code).toBe(0);
    expect(
      (await speaker("2", "strategy: canary, promote: manual, warm: 0s, steps: [{share: 20%}]", "--detach")).code,
    ).toBe(0);
    let ended = false;
    const seen: string[] = [];
    const asking = (async () => {
      while (!ended) seen.push(await answer());
    })();
    await untilStep(/Waiting at 20 %/, "speaker-svc");
    seen.length = 0;
    await waitFor(() => seen.length >= 1000, { deadlineMs: 30_000, describe: "1,000 calls" });
    const tried = seen.slice(0, 1000).filter((version) => version === "2").length;
    expect(tried).toBeGreaterThan(120);
    expect(tried).toBeLessThan(290);
    expect((await platform.cli("promote", "speaker-svc")).code).toBe(0);
    expect((await platform.cli("status", "speaker-svc", "--wait")).code).toBe(0);
    seen.length = 0;
    const refused = await speaker("3", "strategy: canary, steps: [{share: 20%}]", "--timeout", "60s");
    expect(refused).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('Gate "values" failed: RED: the books of 3'),
    });
    ended = true;
    await asking;
    expect(seen).not.toContain("3");
    expect(await Promise.all(Array.from({ length: 50 }, answer))).toEqual(Array.from({ length: 50 }, () => "2"));
  }, 180_000);
});

describe("judged by what the mesh counts of them, behind the real gateway", () => {
  const steps = "strategy: canary, sticky: request, warm: 0s, steps: [{share: 50%, hold: 6s}]";
  const gates =
    "gates: [{metric: error_rate, max: 2%, beside: 50, every: 1s, window: 2s}, {metric: latency, quantile: 80, beside: 200, every: 1s, window: 2s}]";
  /** Every third answer of the program fails, or comes late. */
  const bad = (what: string) =>
    `let n = 0; const make = http.createServer;
http.createServer = (handle) => make((request, response) => {
  if (request.url === "/healthz" || n++ % 3 !== 0) return handle(request, response);
  ${what}
});`;
  const judged = (version: string, before = "") =>
    platform.cli("deploy", echoService(platform, { version, replicas: 2, rollout: steps, manifest: gates, before }));

  test("a good version passes; one that fails, and one that is slow, are undone by themselves, with the figures", async () => {
    expect((await deploy("4.1", "")).code).toBe(0);
    await using load = startLoad({ ...LOAD, url: platform.url("/echo-svc") });
    const good = await judged("5");
    expect({ code: good.code, stderr: good.stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/Gate "error_rate" passes: 0 % of \d+ requests failed/),
    });
    const failing = await judged("6", bad('response.statusCode = 500; response.end("broken");'));
    expect(failing.code).toBe(3);
    expect(failing.stderr).toMatch(/Gate "error_rate" failed: \d+(\.\d+)? % of \d+ requests failed/);
    const slow = await judged("7", bad("setTimeout(handle, 400, request, response);"));
    expect(slow.code).toBe(3);
    expect(slow.stderr).toMatch(/Gate "latency" failed: p80 \d+ ms of \d+ requests; the old version's \d/);
    expect(await versionFor()).toBe("5");
    await load.stop();
  }, 180_000);
});
