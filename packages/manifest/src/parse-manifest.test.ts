import { HmsError } from "@hms/kernel/errors";
import { describe, expect, it } from "vitest";
import { surgeReplicas } from "./amount.ts";
import { examineManifest, type ParseOptions, parseManifest } from "./parse-manifest.ts";
import { REFUSED, refusedManifest } from "./refused-manifests.ts";
import { problemsOf, problemTexts, SMALLEST } from "./testing.ts";

describe("what a manifest reads to", () => {
  it("fills in every default from two keys", () => {
    expect(parseManifest(SMALLEST)).toEqual({
      name: "receipt-svc",
      version: "0.0.0",
      run: { command: "node index.js", directory: "." },
      routes: [],
      scaling: { min: 1, max: 10, by: "none", concurrency: 50, idleMs: 300_000 },
      health: {
        tcp: true,
        intervalMs: 1000,
        timeoutMs: 2000,
        rise: 1,
        fall: 3,
        startTimeoutMs: 30_000,
        minHealthyTimeMs: 1000,
      },
      rollout: {
        strategy: "rolling",
        steps: [],
        match: [],
        sticky: "address",
        promote: "auto",
        warmMs: 30_000,
        windows: [],
        maxSurge: { percent: 25 },
        drainTimeoutMs: 30_000,
        deadlineMs: 300_000,
      },
      stopGraceMs: 10_000,
      resources: { processes: 512 },
      needs: [],
      env: {},
      secrets: {},
      gates: [],
      hooks: { beforeDeploy: [], beforeTraffic: [], afterDeploy: [], onFailure: [] },
      mesh: {
        requestTimeoutMs: 30_000,
        connectTimeoutMs: 1000,
        retry: { attempts: 1, post: false },
        breaker: { openMs: 10_000 },
      },
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
      scaling: { min: 2, max: 4, by: "concurrency", concurrency: 50, idleMs: 300_000 },
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

  it("lets the load decide where max is written and is more than min, unless the manifest says otherwise", () => {
    const by = (scaling: string) => parseManifest(`${SMALLEST}scaling: ${scaling}`).scaling.by;
    expect(by("{min: 2, max: 10}")).toBe("concurrency");
    expect(by("{min: 0, max: 1}")).toBe("concurrency");
    expect(by("{min: 2}")).toBe("none");
    expect(by("{min: 3, max: 3}")).toBe("none");
    expect(by("{min: 2, max: 10, by: none}")).toBe("none");
    expect(by("{min: 2, max: 10, by: cpu}")).toBe("cpu");
  });

  it("raises the default of scaling.max to scaling.min", () => {
    expect(parseManifest(`${SMALLEST}scaling: {min: 20}`).scaling).toMatchObject({ min: 20, max: 20 });
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
      '5:29 scaling.foo: There is no key "foo" here. Possible are min, max, by, concurrency, stabilization, idle, max_replica_hours.',
      "8:11 routes[1].path: The route in line 7 takes the same requests already. Remove one, or give them different paths or methods.",
    ]);
  });

  it("says in the error's message where the first problem is and how many there are", () => {
    const read = () => parseManifest("name: X\nrun: {command: x}\nport: 0", { fileName: "a.hms.yml" });
    expect(read).toThrow(HmsError);
    expect(read).toThrow(/^a\.hms\.yml has 2 problems, first in line 1, name: "X" cannot be part of a host name/);
  });

  it.each(REFUSED)("%s", (line, field, description) => {
    const problems = problemsOf(refusedManifest(line));
    expect(problems.map((problem) => problem.field)).toContain(field);
    const found = problems.filter((problem) => problem.field === field).map((problem) => problem.description);
    expect(found.join("\n")).toMatch(description);
  });

  it("reads what a route demands, and leaves out what it does not", () => {
    const written = `name: a\nrun: {command: x}\nroutes:
  - {path: /open}
  - path: /orders/*
    auth: required
    roles: [operator]
    limits: [{by: principal, rate: 600/m, burst: 20}, {concurrency: 5}]
    max_body: 1Mi
    request_headers: {set: {x-api-version: "2"}, remove: [x-debug]}
    security_headers: true
    cache: 30s
`;
    const { routes } = parseManifest(written, { resolveEnv: () => undefined });
    expect(routes[0]).toEqual({
      path: "/open",
      methods: [],
      auth: "public",
      roles: [],
      mfa: false,
      limits: [],
      requestHeaders: { set: {}, add: {}, default: {}, remove: [] },
      responseHeaders: { set: {}, add: {}, default: {}, remove: [] },
      requestBody: { rename: {}, remove: [], add: {}, maxBytes: 1_048_576 },
      responseBody: { rename: {}, remove: [], add: {}, maxBytes: 1_048_576 },
      securityHeaders: false,
    });
    expect(routes[1]).toMatchObject({
      auth: "required",
      roles: ["operator"],
      limits: [
        { by: "principal", rate: "600/m", burst: 20 },
        { by: "address", concurrency: 5 },
      ],
      maxBodyBytes: 1_048_576,
      requestHeaders: { set: { "x-api-version": "2" }, remove: ["x-debug"] },
      securityHeaders: true,
      cacheMs: 30_000,
    });
  });

  it("tells that run is missing unless a key of a later version explains it", () => {
    expect(problemsOf("name: a").map(({ field }) => field)).toEqual(["run"]);
    expect(problemsOf("name: a\nimage: x").map(({ field }) => field)).toEqual(["image"]);
  });

  it("ends every description with one full stop or question mark", () => {
    for (const [line] of REFUSED) {
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

  it("reports every name that is not set, every name that is none and everything that is no reference", () => {
    const source = `${SMALLEST}env: {A: "\${env.NOPE} \${env.NIL}", B: "\${secret.X Y}\${hms.secret.}", C: "\${HOME}", D: "\${env.A"}`;
    const found = problemsOf(source, { resolveEnv }).map(({ field, description }) => `${field} ${description}`);
    expect(found).toHaveLength(6);
    expect(found[0]).toMatch(/^env\.A .*NOPE is not set where you run hms-sys/);
    expect(found[1]).toMatch(/^env\.A .*NIL is not set/);
    expect(found[2]).toMatch(/^env\.B "\$\{secret\.X Y\}" names no secret/);
    expect(found[3]).toMatch(/^env\.B "\$\{hms\.secret\.\}" names no secret/);
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

describe("routes that do not say auth", () => {
  const text =
    "name: shop\nrun: {command: node index.js}\nroutes: [{path: /a}, {path: /b, auth: public}, {path: /c, roles: [x]}]\n";
  const authOf = (options: ParseOptions) => parseManifest(text, options).routes.map(({ auth }) => auth);

  it("are told apart from those that do, and get what the installation says", () => {
    expect(authOf({ routesDefaultAuth: "required" })).toEqual(["required", "public", "required"]);
    expect([...examineManifest(text, { routesDefaultAuth: "required" }).routesWithoutAuth]).toEqual([0, 2]);
  });

  it("are public by default, so roles of theirs are a problem then", () => {
    expect(() => authOf({})).toThrow(/roles could not be met/);
  });
});
