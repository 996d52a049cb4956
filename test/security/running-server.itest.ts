import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { DescMethod } from "@bufbuild/protobuf";
import { platformServices } from "@hms/authorization";
import { hostEnvironment, type InstancePaths, resolveInstance } from "@hms/config";
import { agent } from "@hms/contracts";
import { createWorkloadTokens, showSealedToken } from "@hms/local-access";
import { openExistingSealingKey } from "@hms/secrets";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eachOf } from "../system/naughty-strings.ts";
import { type Platform, startPlatform } from "../system/platform.ts";
import { authorizationRows } from "./authorization-rows.ts";
import { type Door, httpDoor, socketDoor, type Verdict } from "./doors.ts";
import { namesEnvironment, requestAbout } from "./request-about.ts";

const ROLES = ["viewer", "developer", "operator", "manager", "admin"] as const;
const AT_ONCE = 24;
/** What would end the server that is asked. */
const DEADLY = new Set(["Shutdown", "RestartComponent"]);

const table = authorizationRows();
const methods = platformServices().flatMap((service) => service.methods);
const nameOf = ({ parent, name }: DescMethod) => `${parent.typeName}/${name}`;
const isAgents = ({ parent }: DescMethod) => parent.typeName === agent.AgentService.typeName;

const stack = new AsyncDisposableStack();
/** By the head of the table's column. */
const tokens = new Map<string, string>();
let platform: Platform;
let doors: Record<"http" | "socket" | "agent" | "services", Door>;

const workloadKeyOf = ({ workloadKey: path, sealingKey }: InstancePaths) =>
  showSealedToken({ path, sealing: openExistingSealingKey(sealingKey) });

beforeAll(async () => {
  platform = stack.use(await startPlatform());
  const instance = { instance: platform.instance, data: platform.data };
  const paths = resolveInstance(instance, hostEnvironment(platform.env));
  const record = (id: string, roles: readonly string[], more: object = {}) => {
    const token = randomBytes(16).toString("hex");
    tokens.set(id, token);
    return { id, kind: "user", roles, ...more, token_sha256: createHash("sha256").update(token).digest("hex") };
  };
  const own = [record("known", []), ...ROLES.map((role) => record(role, [role]))];
  const elsewhere = record("elsewhere", ["admin"], { environment: "staging" });
  writeFileSync(paths.keyFile, JSON.stringify([...own, elsewhere]), { mode: 0o600 });
  tokens.set("operator of the installation", readFileSync(paths.operatorToken, "utf8").trim());
  tokens.set("dataplane", readFileSync(paths.dataplaneToken, "utf8").trim());
  tokens.set("server", readFileSync(paths.serverToken, "utf8").trim());
  const workloads = createWorkloadTokens(workloadKeyOf(paths));
  tokens.set("service", workloads.mint({ environment: "default", name: "payment-svc" }));
  doors = {
    http: httpDoor(platform.url("")),
    socket: socketDoor(paths.kernelSocket, stack),
    services: socketDoor(paths.ffiSocket, stack),
    agent: socketDoor(paths.agentSocket, stack),
  };
  const whoAmI = methods.find(({ name }) => name === "WhoAmI") as DescMethod;
  const isRead = async () =>
    (await doors.socket({ method: whoAmI, token: tokens.get("admin"), request: {}, expected: "allowed" })) ===
    "allowed";
  await waitFor(isRead, { describe: "the key file to be in force" });
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

interface Question {
  readonly door: keyof typeof doors;
  readonly method: DescMethod;
  readonly who: string;
  readonly expected: Verdict;
  readonly about?: string;
}

const may = (is: boolean): Verdict => (is ? "allowed" : "denied");

/** Whether a cell says yes to a part of the platform, or to somebody in one of the columns. */
function saysYes(method: DescMethod, who: string): boolean {
  const { cells = {} } = table.get(nameOf(method)) ?? {};
  if (who === "operator of the installation") return true;
  if (who === "dataplane" || who === "server") return cells.parts?.split(", ").includes(who) ?? false;
  return cells[who] === "yes";
}

/** Each method asked by everybody, and by an admin of another environment about this one and about its own. */
function questionsAt(door: keyof typeof doors, asked: readonly DescMethod[], people: readonly string[]): Question[] {
  return asked.flatMap((method) => {
    const { elsewhere = "", admin } = table.get(nameOf(method))?.cells ?? {};
    const own = people.map((who) => ({ door, method, who, expected: may(saysYes(method, who)) }));
    if (!people.includes("admin") || isAgents(method)) return own;
    const mayAtHome = elsewhere !== "–" || (namesEnvironment(method) && admin === "yes");
    const asks = (about: string, is: boolean) => ({ door, method, who: "elsewhere", about, expected: may(is) });
    return [...own, asks("default", elsewhere !== "–"), asks("staging", mayAtHome)];
  });
}

const PEOPLE = ["known", "service", ...ROLES, "operator of the installation", "dataplane"];
const ofServer = methods.filter((method) => !isAgents(method));
const ofAgent = methods.filter((method) => isAgents(method) && !DEADLY.has(method.name));

/** Asks everything, many at the same time, and answers with what came out otherwise than expected. */
async function wrongOf(questions: readonly Question[]): Promise<string[]> {
  const wrong: string[] = [];
  await eachOf(questions, AT_ONCE, async ({ door, method, who, expected, about }) => {
    const request = about === undefined ? {} : requestAbout(method.input, about);
    const knock = { method, token: tokens.get(who), request, expected };
    const found = await doors[door](knock).catch((error: Error) => error.message);
    if (found !== expected) wrong.push(`${nameOf(method)} by ${who} about ${about ?? "nothing"} (${door}): ${found}`);
  });
  return wrong.sort();
}

describe("every method of the running server is open to those of the table and to nobody else", () => {
  test("by HTTP with JSON at the gateway", async () => {
    const questions = questionsAt("http", ofServer, PEOPLE);
    expect(questions.length).toBeGreaterThan(900);
    expect(await wrongOf(questions)).toEqual([]);
  });

  test("by frames at the platform's socket, anonymous callers included", async () => {
    const questions = questionsAt("socket", ofServer, PEOPLE);
    const anonymous = ofServer.map(
      (method) => ({ door: "socket", method, who: "nobody", expected: "denied" }) as const,
    );
    expect(await wrongOf([...questions, ...anonymous])).toEqual([]);
  });

  test("at the socket for deployed services, where the operator's token and the data plane's are nobody's", async () => {
    const questions = questionsAt("services", ofServer, ["known", "service"]);
    const strangers = ["operator of the installation", "dataplane"].flatMap((who) =>
      ofServer.map((method) => ({ door: "services", method, who, expected: "denied" }) as const),
    );
    expect(await wrongOf([...questions, ...strangers])).toEqual([]);
  });

  test("at the agent's socket", async () => {
    const people = ["known", "service", ...ROLES, "operator of the installation", "server", "dataplane"];
    const nobody = methods
      .filter(isAgents)
      .map((method) => ({ door: "agent", method, who: "nobody", expected: "denied" }) as const);
    expect(await wrongOf([...questionsAt("agent", ofAgent, people), ...nobody])).toEqual([]);
  });

  test("and to those who show nothing at the gateway there is no such thing", async () => {
    const found: string[] = [];
    await eachOf(methods, AT_ONCE, async (method) => {
      const path = `/v1/${method.parent.typeName}/${method.name}`;
      const headers = { "content-type": "application/json" };
      const { status } = await fetch(platform.url(path), { method: "POST", headers, body: "{}" });
      if (status !== 404) found.push(`${path}: ${status}`);
    });
    expect(found).toEqual([]);
  });
});

interface Answer {
  readonly status: number;
  readonly body: Record<string, never> & { operations?: unknown[] };
}

/** Calls by HTTP with JSON. */
async function ask(token: string | undefined, method: string, body: object): Promise<Answer> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
  const answer = await fetch(platform.url(`/v1/${method}`), { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: (await answer.json()) as Answer["body"] };
}

/** Asks as the operator, and answers with what a path of names leads to. */
async function given(method: string, body: object, ...path: string[]): Promise<string> {
  const token = tokens.get("operator of the installation");
  let value: unknown = (await ask(token, method, body)).body;
  for (const name of path) value = (value as Record<string, unknown> | undefined)?.[name];
  return String(value);
}

describe("by HTTP what belongs to somebody else", () => {
  const LOOKUP = { service: "hms.ffi.v1.RegistryService", method: "Lookup", codec: "PAYLOAD_CODEC_JSON" };
  const INSTANCE = { serviceId: "hms.owned", version: "v1", instanceId: "i-1", address: "unix:/run/owned.sock" };
  /** Tokens of two people, and of two deployed services. */
  const people: Record<"anna" | "ben" | "annas" | "bens", string> = { anna: "", ben: "", annas: "", bens: "" };
  /** Ids of what is anna's. */
  const owned = { key: "", operation: "" };

  beforeAll(async () => {
    for (const login of ["anna", "ben"] as const) {
      await given("hms.identity.v1.UserService/CreateUser", { login });
      people[login] = await given("hms.identity.v1.KeyService/CreateKey", { user: login, name: "way in" }, "secret");
    }
    owned.key = await given("hms.identity.v1.KeyService/CreateKey", { user: "anna", name: "k" }, "key", "keyId");
    const paths = resolveInstance({ instance: platform.instance, data: platform.data }, hostEnvironment(platform.env));
    const workloads = createWorkloadTokens(workloadKeyOf(paths));
    people.annas = workloads.mint({ environment: "default", name: "annas-svc" });
    people.bens = workloads.mint({ environment: "default", name: "bens-svc" });
    expect((await ask(people.annas, "hms.ffi.v1.RegistryService/Register", INSTANCE)).status).toBe(200);
    const request = Buffer.from('{"serviceId": "hms.owned"}').toString("base64");
    const started = await ask(people.anna, "hms.sys.integration.v1.OperationService/StartOperation", {
      ...LOOKUP,
      request,
    });
    owned.operation = (started.body as { operation?: { operationId: string } }).operation?.operationId ?? "";
  });

  const inPerson: readonly (readonly [string, () => object])[] = [
    ["hms.sys.integration.v1.OperationService/GetOperation", () => ({ operationId: owned.operation })],
    [
      "hms.sys.integration.v1.OperationService/WaitOperation",
      () => ({ operationId: owned.operation, maxWait: "0.1s" }),
    ],
    ["hms.sys.integration.v1.OperationService/CancelOperation", () => ({ operationId: owned.operation })],
    ["hms.identity.v1.KeyService/CreateKey", () => ({ user: "anna", name: "another", scopes: ["keys:own"] })],
    ["hms.identity.v1.KeyService/ListKeys", () => ({ user: "anna" })],
    ["hms.identity.v1.SessionService/ListSessions", () => ({ user: "anna" })],
    ["hms.identity.v1.SessionService/RevokeAllSessions", () => ({ user: "anna" })],
    ["hms.identity.v1.KeyService/RevokeKey", () => ({ keyId: owned.key })],
  ];
  const ofServices: readonly (readonly [string, () => object])[] = [
    ["hms.ffi.v1.RegistryService/Register", () => INSTANCE],
    ["hms.ffi.v1.RegistryService/ReportCalls", () => ({ ...INSTANCE, address: undefined, calls: [] })],
    ["hms.ffi.v1.RegistryService/Unregister", () => ({ ...INSTANCE, address: undefined })],
  ];

  test.each([
    ...inPerson.map(([method, body]) => [method, body, "anna", "ben"] as const),
    ...ofServices.map(([method, body]) => [method, body, "annas", "bens"] as const),
  ])("is not opened by %s, and to its owner it is", async (method, body, owner, other) => {
    expect([403, 404]).toContain((await ask(people[other], method, body())).status);
    expect((await ask(people[owner], method, body())).status).toBe(200);
  });

  test("is not listed", async () => {
    const list = "hms.sys.integration.v1.OperationService/ListOperations";
    expect((await ask(people.ben, list, {})).body.operations ?? []).toEqual([]);
    expect((await ask(people.anna, list, {})).body.operations).toHaveLength(1);
  });

  test("is tried for each method that the table says is its owner's only, but for sessions and claims", () => {
    const tried = [...inPerson, ...ofServices].map(([method]) => method);
    const rows = [...table].filter(([, { cells }]) => cells["others'"] === "owner").map(([name]) => name);
    expect(rows.filter((name) => !tried.includes(name)).sort()).toEqual([
      "hms.automation.v1.StepService/AppendStepLog",
      "hms.automation.v1.StepService/CompleteStep",
      "hms.automation.v1.StepService/FailStep",
      "hms.automation.v1.StepService/RenewSteps",
      "hms.identity.v1.SessionService/NarrowSession",
      "hms.identity.v1.SessionService/RevokeSession",
      "hms.sys.integration.v1.OperationService/ListOperations",
    ]);
  });
});
