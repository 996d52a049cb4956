import { describe, expect, it } from "vitest";
import { parseManifest } from "./parse-manifest.ts";
import { problemsOf, problemTexts, SMALLEST } from "./testing.ts";

const FULL = 65_000;

/** Texts that make careless parsers slow, huge or wrong; each is refused. */
const HOSTILE: Record<string, string | Uint8Array> = {
  "10 MB": `${SMALLEST}#${"x".repeat(10_000_000)}`,
  "10 MB of bytes": new Uint8Array(10_000_000).fill(97),
  nothing: "",
  "comments only": "# nothing\n",
  "a text": "hello",
  "a number": "42",
  "a list": "- a\n- b",
  null: "null",
  "nested lists": "[".repeat(FULL),
  "nested maps": "{a: ".repeat(FULL / 4),
  "nested sequences": "- ".repeat(FULL / 2),
  "nested keys": "? ".repeat(FULL / 2),
  brackets: "[]".repeat(FULL / 2),
  "closing brackets": "]".repeat(FULL),
  quotes: '"'.repeat(FULL),
  anchors: "&a ".repeat(FULL / 3),
  tags: "!!x ".repeat(FULL / 4),
  "many unknown keys": Array.from({ length: 6000 }, (_, index) => `k${index}: 1`).join("\n"),
  "many equal keys": "a:\n".repeat(FULL / 3),
  documents: "---\n".repeat(FULL / 4),
  "two documents": `${SMALLEST}---\n${SMALLEST}`,
  tabs: "\t".repeat(FULL),
  "a tab as indentation": "name: a\nrun:\n\tcommand: x",
  "an unknown anchor": "name: *nobody\nrun: {command: x}",
  "an anchor that holds itself": "name: a\nrun: &r {command: *r}",
  "a list that holds itself": `${SMALLEST}routes: &r [*r, *r]`,
  "YAML 1.1": `%YAML 1.1\n---\n${SMALLEST}`,
  "a binary tag": "name: !!binary aGVsbG8=\nrun: {command: x}",
  "a tag on a group": "name: a\nrun: !!set {command: x}",
  "a JavaScript tag": 'name: !!js/function "x"\nrun: {command: x}',
  "a NUL": "name: a\0\nrun: {command: x}",
  "an escape sequence": "name: a\nrun: {command: x}\n# \u001b[31m",
  "Latin-1": Buffer.from("name: caf\xe9\nrun: {command: x}", "latin1"),
  "UTF-16": Buffer.from(`\ufeff${SMALLEST}`, "utf16le"),
  "half a surrogate pair": `${SMALLEST}# \ud800`,
  "__proto__ at the top": `${SMALLEST}__proto__: {polluted: true}`,
  "__proto__ in env": `${SMALLEST}env: {__proto__: polluted}`,
  "__proto__ in a group": `${SMALLEST}scaling: {__proto__: {min: 3}}`,
  constructor: `${SMALLEST}constructor: {prototype: {polluted: true}}`,
  toString: `${SMALLEST}mesh: {toString: x, hasOwnProperty: y}`,
};

const BOMB = `${SMALLEST}a: &a [x,x,x,x,x,x,x,x,x]
${"bcdefghi".replace(/./g, (letter) => `${letter}: &${letter} [${`*${String.fromCharCode(letter.charCodeAt(0) - 1)},`.repeat(9)}]\n`)}routes: *i
`;

describe("a hostile manifest", () => {
  it.each(Object.entries(HOSTILE))("is refused: %s", (_, source) => {
    const before = process.cpuUsage();
    const problems = problemsOf(source);
    const { user, system } = process.cpuUsage(before);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.length).toBeLessThanOrEqual(101);
    for (const { line = 0, column = 0, description } of problems) {
      expect(line).toBeGreaterThan(0);
      expect(column).toBeGreaterThan(0);
      expect(description.length).toBeLessThan(500);
    }
    expect((user + system) / 1000, "ms of processor time").toBeLessThan(5000);
  });

  it("cannot make a YAML bomb expand", () => {
    const before = process.memoryUsage().heapUsed;
    expect(problemsOf(BOMB).map(({ field }) => field)).toContain("routes[0]");
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
  });

  it("may use 32 aliases and no more", () => {
    const aliases = (count: number) =>
      `name: a\nrun: {command: &x text}\nenv:\n${Array.from({ length: count }, (_, index) => `  V${index}: *x\n`).join("")}`;
    expect(problemsOf(aliases(32))).toEqual([]);
    const [first, ...others] = problemTexts(aliases(34));
    expect(first).toBe("36:8 env.V32: A manifest may use at most 32 YAML aliases (*name). Write the values out.");
    expect(others).toHaveLength(1);
  });

  it("changes no prototype", () => {
    for (const [name, source] of Object.entries(HOSTILE)) if (/proto|constructor/.test(name)) problemsOf(source);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it("lists 100 problems and counts the rest", () => {
    const problems = problemsOf(HOSTILE["many unknown keys"] ?? "");
    expect(problems).toHaveLength(101);
    expect(problems.at(-1)?.description).toMatch(/^5902 further problems are not listed/);
  });

  it.each([
    ["10 MB", /too large.*64 KiB/],
    ["nothing", /empty\. Two keys are enough/],
    ["a text", /group of keys is needed here, and this is the text "hello"/],
    ["nested lists", /nested too deeply/],
    ["two documents", /second document begins here/],
    ["a tab as indentation", /tab indents this line/],
    ["an unknown anchor", /no anchor &nobody/],
    ["YAML 1.1", /YAML 1\.2, not 1\.1/],
    ["a binary tag", /tags \(here !!binary\) are not used/],
    ["a NUL", /NUL character/],
    ["an escape sequence", /U\+001B/],
    ["Latin-1", /not UTF-8/],
    ["__proto__ in env", /__proto__ has a meaning of its own/],
  ])("says what is wrong: %s", (name, description) => {
    expect(problemTexts(HOSTILE[name] ?? "").join("\n")).toMatch(description);
  });

  it("reports a repeated key and where the first one is", () => {
    expect(problemTexts(`${SMALLEST}port: 1\nport: 2\nenv:\n  A: x\n  A: y`)).toEqual([
      '4:1 port: The key "port" is there already in line 3, and only one of the two could count. Remove one.',
      '7:3 env.A: The key "A" is there already in line 6, and only one of the two could count. Remove one.',
    ]);
  });

  it("reports several slips of YAML at once", () => {
    const lines = problemsOf("name: 'a\n  b\nrun: {command: x\nport: [1\n").map(({ line }) => line);
    expect(lines.length).toBeGreaterThan(0);
  });
});

/** A small generator of random numbers with a seed (mulberry32), so that a failure can be run again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const WHOLE = `name: receipt-svc
version: 1.0.0
run:
  command: node index.js
  directory: ./server
port: 3000
routes:
  - path: /users/{id}
    methods: [GET, POST]
scaling: {min: 2, max: 10}
health: {http: /healthz, interval: 1s}
rollout: {max_surge: 25%}
resources: {memory: 256Mi, cpu: 0.5}
env: {A: "\${env.A}", B: 'x'}
mesh: {retry: {attempts: 1}}
`;
const PIECES = [
  ..."[]{}:,-&*!|>'\"%@`#?\t\n \\$~",
  "\r\n",
  "---\n",
  "<<",
  "null",
  "1e9",
  "__proto__",
  "\u0000",
  "\ufeff",
  "é",
  "💥",
  "${env.",
  "/../",
  "99999999999999999999",
  "!!binary ",
  "&a ",
  "*a",
];

function mutate(text: string, random: () => number): string {
  let result = text;
  const changes = 1 + Math.floor(random() * 6);
  for (let change = 0; change < changes; change += 1) {
    const from = Math.floor(random() * (result.length + 1));
    const length = random() < 0.5 ? 0 : Math.floor(random() * 12);
    const piece = random() < 0.3 ? result.slice(from, from + 40) : (PIECES[Math.floor(random() * PIECES.length)] ?? "");
    result = result.slice(0, from) + piece + result.slice(from + length);
  }
  return result;
}

it("reads or refuses every random change of a manifest, and never fails otherwise", () => {
  expect(problemsOf(WHOLE, { resolveEnv: () => "x" })).toEqual([]);
  let refused = 0;
  for (let seed = 1; seed <= 300; seed += 1) {
    const source = mutate(WHOLE, randomFrom(seed));
    const problems = problemsOf(source, { resolveEnv: (name) => (name === "A" ? "x" : undefined) });
    refused += problems.length > 0 ? 1 : 0;
    const lines = source.split("\n").length;
    for (const { line = 0, column = 0 } of problems) {
      expect(line >= 1 && line <= lines && column >= 1, `seed ${seed}: ${line}:${column} of ${lines} lines`).toBe(true);
    }
  }
  expect(refused).toBeGreaterThan(90);
});

it("reads the same text to the same manifest", () => {
  const options = { resolveEnv: () => "x" };
  expect(parseManifest(WHOLE, options)).toEqual(parseManifest(Buffer.from(WHOLE), options));
});
