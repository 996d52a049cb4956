import { globSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { manifestJsonSchema } from "./json-schema.ts";
import { manifestReferencePage } from "./reference-page.ts";
import { REFUSED, refusedManifest } from "./refused-manifests.ts";
import { problemsOf, SMALLEST } from "./testing.ts";

const validate = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true }).compile(
  manifestJsonSchema(),
);
const root = new URL("../../../", import.meta.url).pathname;

const blocks = (page: string) => [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, block = ""]) => block);
const good: [name: string, source: string][] = [
  ["the smallest", SMALLEST],
  ...globSync("examples/*/*.hms.yml", { cwd: root }).map((file): [string, string] => [
    file,
    readFileSync(root + file, "utf8"),
  ]),
  ...blocks(manifestReferencePage())
    .filter((block) => block.startsWith("name:"))
    .map((block, index): [string, string] => [`the reference's ${index + 1}.`, block]),
];

/** What the schema leaves to the parser, and why: editors are told less, never anything wrong. */
const PARSER_ONLY = new Map(
  Object.entries({
    "relations between values": [
      "scaling: {min: 0}",
      "scaling: {min: 0, max: 5, by: none}",
      "scaling: {min: 2, max: 2, by: cpu}",
      "scaling: {concurrency: 5}",
      "scaling: {max: 5, by: cpu, concurrency: 5}",
      "scaling: {min: 2, max: 5, max_replica_hours: 40}",
      "health: {rise: 20, interval: 5m}",
      "health: {start_timeout: 10m}",
      "routes: [{path: '/{a}'}, {path: '/{b}'}]",
      "routes: [{path: /x, roles: [admin]}]",
      "routes: [{path: /x, mfa: true}]",
      "routes: [{path: /x, mfa_max_age: 15m}]",
      "routes: [{path: /x, permission: 'a:b'}]",
      "routes: [{path: /x, limits: [{by: route}]}]",
      "routes: [{path: /x, limits: [{burst: 5, concurrency: 1}]}]",
      "routes: [{path: /x, limits: [{by: principal, rate: 1/s}]}]",
      "routes: [{path: /x, response_headers: {remove: [content-length]}}]",
      "routes: [{path: /ab/c, strip_prefix: /a}]",
      'routes: [{path: /x, deprecated: "2026-03-01", sunset: "2026-02-01"}]',
      "routes: [{path: /x, deprecation_link: 'https://a.example'}]",
      "rollout: {steps: [{share: 1%}]}",
      "rollout: {strategy: blue-green, steps: [{share: 1%}]}",
      "rollout: {strategy: canary, steps: [{share: 50%}, {share: 5%}]}",
      "rollout: {strategy: canary, match: [{value: x}]}",
      "rollout: {warm: 5m}",
      "rollout: {promote: manual}",
      "needs: [receipt-svc]",
      "gates: [{name: a}]",
      "gates: [{http: /a, tcp: true}]",
      "gates: [{http: /a, max: 1%}]",
      "gates: [{http: /a, name: a}, {http: /b, name: a}]",
      "gates: [{metric: error_rate}]",
      "gates: [{metric: error_rate, max: 10s}]",
      "gates: [{metric: error_rate, max: 1%, quantile: 99}]",
      "gates: [{metric: latency, max: 1%}]",
      "gates: [{metric: latency, max: 1s, min: 5/s}]",
      "gates: [{metric: latency, max: 1s, at: start}]",
      "gates: [{metric: throughput}]",
      "gates: [{metric: throughput, min: 5/s, max: 1%}]",
      "hooks: {before_deploy: [{timeout: 5s}]}",
      "hooks: {on_failure: [{run: a, webhook: 'https://b'}]}",
    ],
    "times and zones that there are": [
      "rollout: {windows: ['mon 16:00-09:00']}",
      "rollout: {windows: ['mon 09:00-25:00']}",
      "rollout: {windows: ['mon 09:00-10:00 Europe/Atlantis']}",
    ],
    "credentials in addresses": ["gates: [{webhook: 'https://a:b@c/'}]"],
    "limits of amounts that are texts": [
      "gates: [{metric: error_rate, max: 101%}]",
      "health: {interval: 1ms}",
      "hooks: {before_traffic: [{run: a, timeout: 2h}]}",
      "routes: [{path: /x, cache: 48h}]",
      "routes: [{path: /x, auth: required, mfa_max_age: 13h}]",
      "routes: [{path: /x, timeout: 2h}]",
      "routes: [{path: /x, response_body: {max: 1Gi}}]",
    ],
    "two keys together": ["env: {A: x}\nsecrets: [A]", "env: {A: '${secret.x}'}\nsecrets: {A: x}"],
    "what is filled in": [
      "env: {A: '${secret.}'}",
      "env: {A: '${secret.a b}'}",
      "env: {A: '${secrets.a}'}",
      "routes: [{path: /x, request_headers: {set: {x-a: '${caller}'}}}]",
    ],
    "the inside of a share": ["rollout: {strategy: canary, steps: [{share: 0%}]}"],
    "the calendar": ['routes: [{path: /x, sunset: "2026-02-30"}]'],
    "the inside of a path": [
      "routes: [{path: /:id}]",
      "routes: [{path: '/a/*/b'}]",
      "routes: [{path: '/a{id}'}]",
      "routes: [{path: '/{a}/{a}'}]",
      "routes: [{path: /a//b}]",
      "routes: [{path: /a/../b}]",
      "run: {command: x, directory: ../x}",
      "run: {command: x, directory: a/../../x}",
      "run: {command: x, directory: ..}",
      "run: {command: x, directory: 'C:\\x'}",
    ],
    "what a text means": ["run: {command: ' '}", "run: {command: 'x ${env.A}'}", "run: {command: 'x ${secret.A}'}"],
  }).flatMap(([reason, lines]) => lines.map((line): [string, string] => [line, reason])),
);

describe("the published JSON Schema", () => {
  it.each(good)("takes what the parser takes: %s", (_, source) => {
    expect(problemsOf(source, { resolveEnv: () => "x" })).toEqual([]);
    validate(parse(source));
    expect(validate.errors).toBeNull();
  });

  it.each(REFUSED.map(([line]) => [line]))("refuses what the parser refuses: %s", (line) => {
    const value = parse(refusedManifest(line), { merge: false, logLevel: "silent" });
    expect({ line, valid: validate(value) }).toEqual({ line, valid: PARSER_ONLY.has(line) });
  });
});
