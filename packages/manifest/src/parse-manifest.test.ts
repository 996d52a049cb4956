import { HmsError } from "@hms/kernel/errors";
import { describe, expect, it } from "vitest";
import { surgeReplicas } from "./amount.ts";
import { parseManifest } from "./parse-manifest.ts";
import { problemsOf, problemTexts, SMALLEST } from "./testing.ts";

describe("what a manifest reads to", () => {
  it("fills in every default from two keys", () => {
    expect(parseManifest(SMALLEST)).toEqual({
      name: "receipt-svc",
      version: "0.0.0",
      run: { command: "node index.js", directory: "." },
      routes: [],
      scaling: { min: 1, max: 10 },
      health: {
        tcp: true,
        intervalMs: 1000,
        timeoutMs: 2000,
        rise: 1,
        fall: 3,
        startTimeoutMs: 30_000,
        minHealthyTimeMs: 1000,
      },
      rollout: { strategy: "rolling", maxSurge: { percent: 25 }, drainTimeoutMs: 30_000, deadlineMs: 300_000 },
      stopGraceMs: 10_000,
      resources: { processes: 512 },
      env: {},
      mesh: { requestTimeoutMs: 30_000, connectTimeoutMs: 1000, retry: { attempts: 1, post: false } },
    });
  });

  it("keeps every key that is written, in ms, bytes and millicores", () => {
    const manifest = parseManifest(`
name: receipt-svc
version: 1.0.0
run: {command: node index.js, directory: ./server/, build: npm ci, release: npm run migrate}
port: 3000
routes: [{path: "/users/{id}", methods: [GET, PUT]}, {path: /files/*}]
scaling: {min: 2, max: 4}
health: {http: "/healthz?deep=1", interval: 500ms, timeout: 1.5s, rise: 2, fall: 1, start_timeout: 1m30s, min_healthy_time: 0s}
rollout: {strategy: rolling, max_surge: 2, drain_timeout: 1m, deadline: 1h}
stop_grace: 20s
resources: {memory: 256Mi, cpu: 0.5, processes: 64}
env: {A: text, EMPTY: ""}
mesh: {request_timeout: 5s, connect_timeout: 250ms, retry: {attempts: 0, post: true}}
`);
    expect(manifest).toMatchObject({
      version: "1.0.0",
      run: { directory: "server", build: "npm ci", release: "npm run migrate" },
      port: 3000,
      routes: [
        { path: "/users/{id}", methods: ["GET", "PUT"] },
        { path: "/files/*", methods: [] },
      ],
      scaling: { min: 2, max: 4 },
      health: { http: "/healthz?deep=1", tcp: false, intervalMs: 500, timeoutMs: 1500, startTimeoutMs: 90_000 },
      rollout: { maxSurge: { replicas: 2 }, drainTimeoutMs: 60_000, deadlineMs: 3_600_000 },
      stopGraceMs: 20_000,
      resources: { memoryBytes: 268_435_456, cpuMillicores: 500, processes: 64 },
      env: { A: "text", EMPTY: "" },
      mesh: { requestTimeoutMs: 5000, connectTimeoutMs: 250, retry: { attempts: 0, post: true } },
    });
    expect(JSON.parse(JSON.stringify(manifest))).toEqual(manifest);
  });

  it("is frozen all the way down", () => {
    const manifest = parseManifest(`${SMALLEST}routes: [{path: /a}]`);
    for (const value of [manifest, manifest.run, manifest.routes, manifest.routes[0], manifest.mesh.retry]) {
      expect(Object.isFrozen(value)).toBe(true);
    }
  });

  it("raises the default of scaling.max to scaling.min", () => {
    expect(parseManifest(`${SMALLEST}scaling: {min: 20}`).scaling).toEqual({ min: 20, max: 20 });
  });

  it.each([
    ["a byte order mark", `\ufeff${SMALLEST}`],
    ["Windows line ends", SMALLEST.replaceAll("\n", "\r\n")],
    ["JSON", '{"name": "receipt-svc", "run": {"command": "node index.js"}}'],
    ["document marks and comments", `---\n# it\n${SMALLEST}...\n`],
    ["bytes", Buffer.from(SMALLEST)],
    ["a few aliases", "name: receipt-svc\nrun:\n  command: &c node index.js\n  build: *c\n"],
    ["an explicit !!str", `name: receipt-svc\nrun: {command: node index.js}\nversion: !!str 1.0\n`],
  ])("reads %s", (_, source) => {
    expect(parseManifest(source)).toMatchObject({ name: "receipt-svc", run: { command: "node index.js" } });
  });

  it("rounds a surge up, so that a rollout can always go on", () => {
    expect([1, 4, 5].map((wanted) => surgeReplicas({ percent: 25 }, wanted))).toEqual([1, 1, 2]);
    expect(surgeReplicas({ replicas: 3 }, 1)).toBe(3);
  });
});

describe("what a manifest is refused for", () => {
  it("reports everything together, in the order of the text, with line, column and key", () => {
    const source = `nmae: x
run:
  comand: node
port: "80"
scaling: {min: 12, max: 10, foo: 1}
routes:
  - path: /a
  - path: /a
    methods: [GET]
`;
    expect(problemTexts(source)).toEqual([
      '1:1 nmae: There is no key "nmae" here. Did you mean name?',
      "1:1 name: The key name is missing, and it has no default. Add name: receipt-svc.",
      '3:3 run.comand: There is no key "comand" here. Did you mean command?',
      "3:3 run.command: The key command is missing, and it has no default. Add command: node index.js.",
      "4:7 port: A whole number is needed here, and quotes make it a text. Write 80 without quotes.",
      "5:16 scaling.min: min (12) is more than max (10). Raise max, or lower min.",
      '5:29 scaling.foo: There is no key "foo" here. Possible are min, max.',
      "8:11 routes[1].path: The route in line 7 takes the same requests already. Remove one, or give them different paths or methods.",
    ]);
  });

  it("says in the error's message where the first problem is and how many there are", () => {
    const read = () => parseManifest("name: X\nrun: {command: x}\nport: 0", { fileName: "a.hms.yml" });
    expect(read).toThrow(HmsError);
    expect(read).toThrow(/^a\.hms\.yml has 2 problems, first in line 1, name: "X" cannot be part of a host name/);
  });

  const CASES: [source: string, field: string, description: RegExp][] = [
    ["name: ../x", "name", /"\.\.\/x" cannot be part of a host name.*such as x\./],
    ["name: Receipt_Svc", "name", /such as receipt-svc/],
    ["name: aws", "name", /word for a deploy target.*aws-svc/],
    ["name: 12", "name", /YAML reads this as the number 12.*"12"/],
    [`name: ${"a".repeat(64)}`, "name", /1 to 63/],
    ["name: a-", "name", /inner hyphens/],
    ["version: 1.0", "version", /the number 1\.0\. Write it in quotes: "1\.0"/],
    ["version: a b", "version", /contains a space/],
    ["run: npm start", "run", /group of keys is needed here, and this is the text "npm start"/],
    ["run: {command: [node, x]}", "run.command", /text is needed here, not a list/],
    ["run: {command: ' '}", "run.command", /empty/],
    ["run: {command: x, directory: ../x}", "run.directory", /leads out of the manifest's directory/],
    ["run: {command: x, directory: a/../../x}", "run.directory", /leads out/],
    ["run: {command: x, directory: ..}", "run.directory", /leads out/],
    ["run: {command: x, directory: /etc}", "run.directory", /absolute/],
    ["run: {command: x, directory: 'C:\\x'}", "run.directory", /absolute/],
    ["run: {command: x, directory: ~/x}", "run.directory", /only a shell resolves/],
    ["run: {command: 'x ${env.A}'}", "run.command", /filled in under env only.*\$NAME here/],
    ["run: {command: 'x ${secret.A}'}", "run.command", /Secrets do not exist/],
    ["port: 0", "port", /less than the least, 1/],
    ["port: 65536", "port", /more than the most, 65535/],
    ["port: 80.5", "port", /whole number is needed here, not the number 80\.5/],
    ["port: .inf", "port", /whole number/],
    ["port: 1e400", "port", /whole number/],
    ["port:", "port", /There is no value/],
    ["ports: [80]", "ports", /called port/],
    ["routes: {path: /x}", "routes", /list is needed here.*"- " before/],
    ["routes: []", "routes", /empty/],
    ["routes: [/x]", "routes[0]", /Write keys below it, indented: path, methods/],
    ["routes: [{path: x}]", "routes[0].path", /Write \/x/],
    ["routes: [{path: /:id}]", "routes[0].path", /Write \{id\}/],
    ["routes: [{path: '/a/*/b'}]", "routes[0].path", /stands alone as the last segment/],
    ["routes: [{path: '/a{id}'}]", "routes[0].path", /variable segment is \{name\} alone/],
    ["routes: [{path: '/{a}/{a}'}]", "routes[0].path", /names \{a\} twice/],
    ["routes: [{path: /a//b}]", "routes[0].path", /two slashes/],
    ["routes: [{path: /a/../b}]", "routes[0].path", /Write the path it leads to/],
    ["routes: [{path: '/a?b=1'}]", "routes[0].path", /query/],
    ["routes: [{path: '/a b'}]", "routes[0].path", /Percent-encode/],
    ["routes: [{path: /a, methods: POST}]", "routes[0].methods", /list is needed.*brackets: \[POST\]/],
    ["routes: [{path: /a, methods: []}]", "routes[0].methods", /empty/],
    ["routes: [{path: /a, methods: [post]}]", "routes[0].methods[0]", /Did you mean POST\?/],
    ["routes: [{path: /a, methods: [GET, GET]}]", "routes[0].methods[1]", /in the list already/],
    ["routes: [{path: '/{a}'}, {path: '/{b}'}]", "routes[1].path", /same requests/],
    ["scaling: {min: 0}", "scaling.min", /less than the least/],
    ["scaling: {min: 501}", "scaling.min", /more than the most/],
    ["replicas: 3", "replicas", /called scaling\.min/],
    ["health: {http: 'http://localhost/x'}", "health.http", /whole address/],
    ["health: {http: /x, tcp: true}", "health.tcp", /exclude each other/],
    ["health: {tcp: false}", "health.tcp", /Only true/],
    ["health: {interval: 5}", "health.interval", /Write 5s/],
    ["health: {interval: 1d}", "health.interval", /Write 24h/],
    ["health: {interval: fast}", "health.interval", /Write 100ms to 5m, such as 1s/],
    ["health: {interval: 1ms}", "health.interval", /less than the least, 100ms/],
    ["health: {rise: 20, interval: 5m}", "health.start_timeout", /do not fit into start_timeout/],
    ["health: {start_timeout: 10m}", "rollout.deadline", /make 10m1s\. Write a longer/],
    ["rollout: {strategy: canary}", "rollout.strategy", /cannot do "canary" yet\..*Use rolling/],
    ["rollout: {strategy: bluegreen}", "rollout.strategy", /yet.*max_surge: 100%/],
    ["rollout: {strategy: roling}", "rollout.strategy", /Did you mean rolling\?/],
    ["rollout: {max_surge: 0}", "rollout.max_surge", /leaves no room/],
    ["rollout: {max_surge: 0%}", "rollout.max_surge", /leaves no room/],
    ["rollout: {max_surge: 101%}", "rollout.max_surge", /more than the most, 100%/],
    ["rollout: {max_surge: some}", "rollout.max_surge", /neither a share nor a number/],
    ["stop_grace: 10 sec", "stop_grace", /Write 10s/],
    ["stop_grace: -1s", "stop_grace", /not a duration/],
    ["resources: {memory: 256}", "resources.memory", /Did you mean 256Mi\?/],
    ["resources: {memory: 256m}", "resources.memory", /Write 256Mi/],
    ["resources: {memory: 1 GB}", "resources.memory", /Write 1Gi/],
    ["resources: {cpu: -1}", "resources.cpu", /not a number of cores/],
    ["resources: {cpu: 0}", "resources.cpu", /less than the least/],
    ["resources: {processes: 1}", "resources.processes", /less than the least, 8/],
    ["env: [A=1]", "env", /NAME: "value".*this is a list/],
    ["env: {A: 1}", "env.A", /quotes: "1"/],
    ["env: {A: true}", "env.A", /the truth value true/],
    ["env: {A: }", "env.A", /no value/],
    ["env: {PORT: '1'}", "env.PORT", /given by the platform/],
    ["env: {HMS_SERVICE: x}", "env.HMS_SERVICE", /given by the platform/],
    ["env: {'1A': x}", "env.1A", /cannot be a name/],
    ["env: {1: x}", "env.?", /name is needed/],
    ["mesh: {retry: {post: 'yes'}}", "mesh.retry.post", /not true or false/],
    ["mesh: {timeout: 3s}", "mesh.timeout", /called mesh\.request_timeout/],
    ["image: x", "image", /cannot do "image" yet/],
    ["secrets: [x]", "secrets", /cannot do "secrets" yet/],
    ["methods: [GET]", "methods", /routes\.methods is where it belongs/],
    ["zzzzzz: 1", "zzzzzz", /Possible are name, version/],
    ["1: x", "?", /A key is needed here/],
    ["<<: {a: b}", "<<", /merge key/],
  ];

  it.each(CASES)("%s", (line, field, description) => {
    const key = /^[^:]*/.exec(line)?.[0];
    const rest = SMALLEST.split("\n").filter((other) => !other.startsWith(`${key}:`));
    const problems = problemsOf([line, ...rest].join("\n"));
    expect(problems.map((problem) => problem.field)).toContain(field);
    const found = problems.filter((problem) => problem.field === field).map((problem) => problem.description);
    expect(found.join("\n")).toMatch(description);
  });

  it("tells that run is missing unless a key of a later version explains it", () => {
    expect(problemsOf("name: a").map(({ field }) => field)).toEqual(["run"]);
    expect(problemsOf("name: a\nimage: x").map(({ field }) => field)).toEqual(["image"]);
  });

  it("ends every description with one full stop or question mark", () => {
    for (const [line] of CASES) {
      for (const { description } of problemsOf(line)) expect(description).toMatch(/[^.?!][.?]$/);
    }
  });
});

describe("values from the operator's environment", () => {
  const env: Record<string, string> = { REGION: "eu", EMPTY: "" };
  const resolveEnv = (name: string) => env[name];
  const read = (value: string) => parseManifest(`${SMALLEST}env:\n  A: '${value}'`, { resolveEnv }).env.A;

  it("fills them in", () => {
    expect(read("${env.REGION}-${env.REGION}${env.EMPTY}")).toBe("eu-eu");
  });

  it("leaves everything else as it is", () => {
    expect(read("$REGION $1 {x} $$ $${env.REGION} a$b")).toBe("$REGION $1 {x} $$ ${env.REGION} a$b");
  });

  it("does not read what it filled in once more", () => {
    env.NESTED = "${env.REGION}";
    expect(read("${env.NESTED}")).toBe("${env.REGION}");
  });

  it("reports every name that is not set, every secret and everything that is no reference", () => {
    const source = `${SMALLEST}env: {A: "\${env.NOPE} \${env.NIL}", B: "\${secret.X}\${hms.secret.X}", C: "\${HOME}", D: "\${env.A"}`;
    const found = problemsOf(source, { resolveEnv }).map(({ field, description }) => `${field} ${description}`);
    expect(found).toHaveLength(6);
    expect(found[0]).toMatch(/^env\.A .*NOPE is not set where you run hms-sys/);
    expect(found[1]).toMatch(/^env\.A .*NIL is not set/);
    expect(found[2]).toMatch(/^env\.B "\$\{secret\.X\}" asks for a secret/);
    expect(found[3]).toMatch(/^env\.B "\$\{hms\.secret\.X\}" asks for a secret/);
    expect(found[4]).toMatch(/^env\.C "\$\{HOME\}" is no reference/);
    expect(found[5]).toMatch(/^env\.D .*no closing brace/);
  });

  it("does not show a value that is too long", () => {
    env.LONG = "hush".repeat(10_000);
    const [problem] = problemsOf(`${SMALLEST}env: {A: "\${env.LONG}"}`, { resolveEnv });
    expect(problem?.description).toMatch(/40000 characters, and 32768 are the most/);
    expect(problem?.description).not.toContain("hush");
  });
});
