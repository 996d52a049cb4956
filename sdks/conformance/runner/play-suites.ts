import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isThorough } from "@hms/testkit";
import { afterAll, beforeAll, describe, test } from "vitest";
import { certificates } from "./certificates.ts";
import { type Language, type LanguageOptions, languages } from "./languages.ts";
import { PeerProcess } from "./peer-process.ts";
import { RawServer } from "./raw-connection.ts";
import { RealPlatform } from "./real-platform.ts";
import { RegistryStandIn } from "./registry-stand-in.ts";
import { expanded, type Scenario, type Suite, suites } from "./scenario.ts";
import { ScenarioRun, type Stage } from "./scenario-run.ts";

/** Whether both sides have what a scenario needs. */
function fits({ needs = [] }: Scenario, peers: Language[], codec: string): boolean {
  const lacks = peers.flatMap((peer) => peer.lacks);
  return needs.every((need) => !lacks.includes(need) && !(need === "any-method" && codec === "protobuf"));
}

const codecsOf = ({ codecs }: Suite, a: Language, b: Language) =>
  (codecs ?? ["json", "protobuf"]).filter((codec) => a.codecs.includes(codec) && b.codecs.includes(codec));

interface Play {
  suite: Suite;
  scenario: Scenario;
  codec: string;
  client: PeerProcess;
  server: PeerProcess;
}

/** What the scenarios of one test file share: a folder, the registry or the platform, and peers that go on running. */
class Theatre {
  readonly folder = mkdtempSync(join(tmpdir(), "hms-conf-"));
  readonly #env = {
    HMS_FFI_SOCKET: join(this.folder, "registry.sock"),
    HMS_FFI_TOKEN: "conformance",
    HMS_FFI_SERVICE_DIR: join(this.folder, "s"),
  };
  readonly #registry = new RegistryStandIn(this.#env.HMS_FFI_SOCKET);
  readonly #platform = new RealPlatform({ socket: this.#env.HMS_FFI_SOCKET, token: this.#env.HMS_FFI_TOKEN });
  /** What `$serverTls` and the like stand for. */
  readonly #own = certificates(this.folder);
  readonly #running = new Map<string, PeerProcess>();
  #runs = 0;

  /** What a suite needs to be running. */
  groundOf({ kind }: Suite): RegistryStandIn | RealPlatform | undefined {
    return kind === "registry" ? this.#registry : kind === "platform" ? this.#platform : undefined;
  }

  /** A peer that runs already in its role, or a new one: starting one takes longer than most scenarios. */
  peerOf(language: Language, role: "client" | "server"): PeerProcess {
    const key = `${language.name} ${role}`;
    const known = this.#running.get(key);
    if (known?.alive) return known;
    const peer = new PeerProcess(language, this.#env);
    this.#running.set(key, peer);
    return peer;
  }

  async play({ suite, scenario, codec, client, server }: Play): Promise<void> {
    const stage = this.#stage(suite, scenario, { client, server });
    const kind = scenario.kind ?? suite.kind;
    const served = kind !== "raw-server";
    await this.#serve(stage, served, { ...suite.server, ...scenario.server });
    const where = this.groundOf(suite) ? {} : { address: stage.address };
    const options = expanded({ ...where, codec, ...suite.client, ...scenario.client }, this.#own) as object;
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

  #stage(suite: Suite, scenario: Scenario, sides: Pick<Stage, "client" | "server">): Stage {
    this.#runs += 1;
    const suffix = `#${this.#runs}`;
    const names = { client: `c${suffix}`, server: `s${suffix}` };
    const restart = async (role: "client" | "server") => {
      const peer = stage[role];
      await peer.kill();
      return this.peerOf(peer.language, role);
    };
    const stage: Stage = { ...sides, names, address: "", suffix, restart, own: this.#own };
    if (suite.kind === "registry") {
      stage.registry = this.#registry;
      this.#registry.configure(scenario.policy ?? {}, scenario.ticketSeconds ?? 60);
    }
    if (suite.kind === "platform") stage.platform = this.#platform;
    return stage;
  }

  async #serve(stage: Stage, served: boolean, options: object): Promise<void> {
    if (served) {
      const wanted = { do: "serve", server: stage.names.server, ...(expanded(options, this.#own) as object) };
      stage.address = ((await stage.server.tell(wanted)) as { address: string }).address;
      return;
    }
    const path = join(this.folder, `raw${this.#runs}.sock`);
    stage.listener = await RawServer.at(path);
    stage.address = `unix:${path}`;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map((peer) => peer.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Who plays a suite with whom. */
interface Pairing {
  title: string;
  sides: [client: Language, server: Language];
  codec: string;
}

/** Every pair of languages in both roles and each codec that both have; one language alone against raw frames. */
function pairingsOf(suite: Suite, known: readonly Language[], every: boolean): Pairing[] {
  const servers = known.filter(({ callsOnly }) => !callsOnly);
  if (suite.kind === "raw-client" || suite.kind === "raw-server") {
    const alone = suite.kind === "raw-client" ? servers : known;
    return alone.map((one) => ({ title: one.name, sides: [one, one], codec: "json" }));
  }
  const all = known.flatMap((one) => servers.map((other): Pairing["sides"] => [one, other]));
  // Between two languages each plays both roles.
  const pairs = suite.kind === "platform" && !every ? all.filter(([one, other]) => one !== other) : all;
  return pairs.flatMap((sides) => {
    const codecs = codecsOf(suite, ...sides);
    // One codec for each pair, each for some pair; more tells nothing of the platform, which does not read what it carries.
    const played =
      suite.kind === "platform" || !every ? [codecs[sides[0] === sides[1] ? 0 : codecs.length - 1] ?? ""] : codecs;
    return played.map((codec) => ({ title: `${sides[0].name} calls ${sides[1].name} in ${codec}`, sides, codec }));
  });
}

/** How much is played. */
export interface PlayOptions extends LanguageOptions {
  /** Each pair in each codec; default: in a thorough run. */
  every?: boolean;
}

/** Makes tests of the corpus's suites of some kinds. */
export function playSuites(isMine: (kind: Suite["kind"]) => boolean, options: PlayOptions = {}): void {
  const { every = isThorough, variants = every } = options;
  const theatre = new Theatre();
  const known = languages({ ...options, variants });
  afterAll(() => theatre.close());

  describe.each(suites().filter(({ kind }) => isMine(kind)))("$suite", (suite) => {
    beforeAll(() => theatre.groundOf(suite)?.start());
    afterAll(() => theatre.groundOf(suite)?.stop());
    describe.each(pairingsOf(suite, known, every))("$title", ({ sides: [one, other], codec }) => {
      const scenarios = suite.scenarios.filter((scenario) => fits(scenario, [one, other], codec));
      test.each(scenarios)("$name", (scenario) => {
        const sides = { client: theatre.peerOf(one, "client"), server: theatre.peerOf(other, "server") };
        return theatre.play({ suite, scenario, codec, ...sides });
      });
    });
  });
}
