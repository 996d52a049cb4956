import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);

/** Modules by which a process gets to the network, and what of them connects. */
const MODULES = /from "(?:node:(?:net|http|https|tls|http2|dgram)|pg|undici)"|getBuiltinModule\("node:|\bfetch\(/;
const CONNECTS =
  /(?<![.#\w])(?:connect|request|createConnection|fetch|connectTls|requestHttps?|createSocket)\(|^import .*\b(?:request|connect) as \w+|new (?:Client|Pool)\(|nodeHttp2\(\)\.connect\(/m;
const NARROWED = /\boutgoingTo\(|\boutgoingAddress\(|\bOutgoingSocket\b/;

/** Sources that connect without asking where the operator allows it, and why nothing can lead them anywhere. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "apps/agent/src/components/platform-components.ts": "a unix socket",
  "apps/agent/src/network/allocate-network.ts": "looks whether a port of this machine is free",
  "apps/agent/src/network/machine-claim.ts": "an abstract unix socket",
  "apps/agent/src/replica/service-sockets.ts": "a unix socket",
  "apps/dataplane/src/names/dns-forwarder.ts": "the resolvers of this machine, for its programs",
  "packages/handover/src/gentle-close.ts": "its own listener",
  "packages/handover/src/listener-set.ts": "listens",
  "packages/postgres/src/admin-connection.ts": "by the settings of connection-source.ts",
  "packages/postgres/src/embedded-plan.ts": "a unix socket",
  "packages/postgres/src/guarded-pool.ts": "by the settings of connection-source.ts",
  "packages/postgres/src/pool-pulse.ts": "by the settings of connection-source.ts",
  "packages/proxy/src/edge-pulse.ts": "a unix socket",
  "packages/proxy/src/edge-streams.ts": "a unix socket",
  "packages/proxy/src/http2-frontend.ts": "the engine itself, within the process",
  "packages/proxy/src/proxy-fixture.ts": "tests only",
  "packages/wire/src/raw-peer.ts": "a unix socket; tests only",
  "packages/wire/src/socket-file.ts": "a unix socket",
  "services/deployment/src/gates/http-question.ts": "by the way that ask-webhook.ts gives it, or to a replica",
  "services/deployment/src/health/probe.ts": "replicas of this machine",
};

test("whatever of the platform connects to something asks where the operator allows it, or can be led nowhere", () => {
  const sources = globSync(
    ["{packages,services,providers}/*/src/**/*.ts", "apps/{agent,server,dataplane}/src/**/*.ts"],
    {
      cwd: root,
    },
  ).filter((path) => !/\.(?:test|itest|faults)\.ts$|\/testing\/|^packages\/testkit\/|\/gen\//.test(path));
  expect(sources.length).toBeGreaterThan(500);
  const connecting = sources.filter((path) => {
    const text = readFileSync(new URL(path, root), "utf8");
    return MODULES.test(text) && CONNECTS.test(text);
  });
  const asks = (path: string) => NARROWED.test(readFileSync(new URL(path, root), "utf8"));
  expect(connecting.filter(asks).length).toBeGreaterThan(6);
  expect(connecting.filter((path) => !asks(path)).sort()).toEqual(Object.keys(ELSEWHERE).sort());
});
