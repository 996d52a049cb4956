import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { certificates } from "./certificates.ts";
import { type Language, languages } from "./languages.ts";
import { PeerProcess } from "./peer-process.ts";
import { RawServer } from "./raw-connection.ts";
import { RealPlatform } from "./real-platform.ts";
import { RegistryStandIn } from "./registry-stand-in.ts";
import { expanded, type Scenario, type Suite, suites } from "./scenario.ts";
import { ScenarioRun, type Stage } from "./scenario-run.ts";

const known = languages();
const folder = mkdtempSync(join(tmpdir(), "hms-conf-"));
const env = {
  HMS_FFI_SOCKET: join(folder, "registry.sock"),
  HMS_FFI_TOKEN: "conformance",
  HMS_FFI_SERVICE_DIR: join(folder, "s"),
};
const registry = new RegistryStandIn(env.HMS_FFI_SOCKET);
const platform = new RealPlatform({ socket: env.HMS_FFI_SOCKET, token: env.HMS_FFI_TOKEN });
/** What `$serverTls` and the like stand for. */
const own = certificates(folder);
let runs = 0;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Whether both sides have what a scenario needs. */
function fits({ needs = [] }: Scenario, peers: Language[], codec: string): boolean {
  const lacks = peers.flatMap((peer) => peer.lacks);
  return needs.every((need) => !lacks.includes(need) && !(need === "any-method" && codec === "protobuf"));
}

interface Play {
  suite: Suite;
  scenario: Scenario;
  codec: string;
  client: PeerProcess;
  server: PeerProcess;
}

async function play({ suite, scenario, codec, client, server }: Play): Promise<void> {
  const suffix = `#${runs++}`;
  const kind = scenario.kind ?? suite.kind;
  const names = { client: `c${suffix}`, server: `s${suffix}` };
  const restart = (role: "client" | "server") => restarted(stage[role], role);
  const stage: Stage = { client, server, names, address: "", suffix, restart, own };
  if (suite.kind === "registry") {
    stage.registry = registry;
    registry.configure(scenario.policy?.deny ?? [], scenario.ticketSeconds ?? 60);
  }
  if (suite.kind === "platform") stage.platform = platform;
  const served = kind !== "raw-server";
  if (served) {
    const options = expanded({ ...suite.server, ...scenario.server }, own) as object;
    const answer = (await server.tell({ do: "serve", server: stage.names.server, ...options })) as { address: string };
    stage.address = answer.address;
  } else {
    const path = join(folder, `raw${runs}.sock`);
    stage.listener = await RawServer.at(path);
    stage.address = `unix:${path}`;
  }
  const where = suite.kind === "registry" || suite.kind === "platform" ? {} : { address: stage.address };
  const options = expanded({ ...where, codec, ...suite.client, ...scenario.client }, own) as object;
  if (kind !== "raw-client") await client.tell({ do: "connect", client: stage.names.client, ...options });
  try {
    await new ScenarioRun(stage, scenario).play(scenario.steps);
  } finally {
    if (kind !== "raw-client")
      await stage.client.tell({ do: "disconnect", client: stage.names.client }).catch(() => {});
    if (served) await stage.server.tell({ do: "drain", server: stage.names.server, graceMs: 0 }).catch(() => {});
    await stage.listener?.close();
  }
}

const running = new Map<string, PeerProcess>();

/** A peer that runs already in its role, or a new one: starting one takes longer than most scenarios. */
function peerOf(language: Language, role: "client" | "server"): PeerProcess {
  const key = `${language.name} ${role}`;
  const known = running.get(key);
  if (known?.alive) return known;
  const peer = new PeerProcess(language, env);
  running.set(key, peer);
  return peer;
}

/** Another process in place of one that is killed. */
async function restarted(peer: PeerProcess, role: "client" | "server"): Promise<PeerProcess> {
  await peer.kill();
  return peerOf(peer.language, role);
}

afterAll(async () => {
  await Promise.all([...running.values()].map((peer) => peer.stop()));
});

function testSuite(suite: Suite, sides: [client: Language, server: Language], codec: string): void {
  const scenarios = suite.scenarios.filter((scenario) => fits(scenario, sides, codec));
  test.each(scenarios)("$name", (scenario) =>
    play({ suite, scenario, codec, client: peerOf(sides[0], "client"), server: peerOf(sides[1], "server") }),
  );
}

const codecsOf = ({ codecs }: Suite, a: Language, b: Language) =>
  (codecs ?? ["json", "protobuf"]).filter((codec) => a.codecs.includes(codec) && b.codecs.includes(codec));

for (const suite of suites()) {
  describe(suite.suite, () => {
    const ground = suite.kind === "registry" ? registry : suite.kind === "platform" ? platform : undefined;
    beforeAll(() => ground?.start());
    afterAll(() => ground?.stop());
    for (const one of known) {
      if (suite.kind === "raw-client" || suite.kind === "raw-server") {
        describe(one.name, () => testSuite(suite, [one, one], "json"));
        continue;
      }
      for (const other of known) {
        for (const codec of codecsOf(suite, one, other)) {
          describe(`${one.name} calls ${other.name} in ${codec}`, () => testSuite(suite, [one, other], codec));
        }
      }
    }
  });
}
