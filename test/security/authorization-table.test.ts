import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { create, type DescMethod } from "@bufbuild/protobuf";
import { permissionOf, platformServices } from "@hms/authorization";
import { agent, mesh } from "@hms/contracts";
import { componentPrincipal, HmsError, type IncomingCall, implement, Kernel, type KernelOptions } from "@hms/kernel";
import { createLogger } from "@hms/telemetry";
import { tempInstance } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgentPolicy } from "../../apps/agent/src/agent-policy.ts";
import { openAccess } from "../../apps/server/src/open-access.ts";
import { authorizationRows } from "./authorization-rows.ts";
import { namesEnvironment, requestAbout } from "./request-about.ts";

const root = new URL("../../", import.meta.url);
const ROLES = ["viewer", "developer", "operator", "manager", "admin"] as const;
const COMPONENTS = ["server", "dataplane", "hms.sys.deployment", "hms.sys.mesh"];

const table = authorizationRows();
const methods = platformServices().flatMap((service) => service.methods);
const nameOf = ({ parent, name }: DescMethod) => `${parent.typeName}/${name}`;

const stack = new AsyncDisposableStack();
const tokens = new Map<string, string>();
let server: Kernel;
let agentKernel: Kernel;

/** A kernel that decides like this one; what gets through is answered with UNIMPLEMENTED, so that nothing happens. */
function kernelWith(options: Pick<KernelOptions, "identity" | "policy">): Kernel {
  return new Kernel({ ...options, audit: { accepts: true, record: () => {} } });
}

function reached(): never {
  throw new HmsError("UNIMPLEMENTED", "The call has come through.");
}

beforeAll(() => {
  const instance = stack.use(tempInstance());
  const keys = [["known", []], ...ROLES.map((role) => [role, [role]] as const)] as const;
  const records = keys.map(([id, roles]) => {
    const token = randomBytes(16).toString("hex");
    tokens.set(id, token);
    return { id, kind: "user", roles, token_sha256: createHash("sha256").update(token).digest("hex") };
  });
  const elsewhere = randomBytes(16).toString("hex");
  tokens.set("elsewhere", elsewhere);
  const token_sha256 = createHash("sha256").update(elsewhere).digest("hex");
  const all = [...records, { id: "elsewhere", kind: "user", roles: ["admin"], environment: "staging", token_sha256 }];
  writeFileSync(instance.paths.keyFile, JSON.stringify(all), { mode: 0o600 });
  const access = openAccess(instance.paths, stack, createLogger("test"));
  access.book.replace("stored", []);
  tokens.set("service", access.workloads.mint({ environment: "default", name: "payment-svc" }));
  tokens.set("operator of the installation", readFileSync(instance.paths.operatorToken, "utf8").trim());
  server = kernelWith(access);
  agentKernel = kernelWith({ identity: access.identity, policy: createAgentPolicy() });
  for (const service of platformServices()) {
    const implementation = Object.fromEntries(service.methods.map(({ localName }) => [localName, reached]));
    const kernel = service.typeName === agent.AgentService.typeName ? agentKernel : server;
    kernel.register(implement(service, implementation as never));
  }
});
afterAll(() => stack.disposeAsync());

/** Whether a call gets through to its handler. */
async function isAllowed(method: DescMethod, caller: IncomingCall["caller"], request: object = {}): Promise<boolean> {
  const kernel = method.parent.typeName === agent.AgentService.typeName ? agentKernel : server;
  const entry = kernel.entryOf(method);
  const input = create(method.input, request as never);
  try {
    if (method.methodKind === "unary") await kernel.unary(entry, input, { caller });
    else
      for await (const _ of kernel.stream(
        entry,
        (async function* () {
          yield input;
        })(),
        { caller },
      ))
        break;
  } catch (error) {
    const { code } = HmsError.from(error);
    if (code === "UNIMPLEMENTED") return true;
    expect(code).toMatch(/^(UNAUTHENTICATED|PERMISSION_DENIED)$/);
  }
  return false;
}

const withToken = (token: string | undefined) => ({ credentials: { transport: "socket" as const, token } });

test("the table has a line for every method of every contract, and none for what there is not", () => {
  expect([...table.keys()].sort()).toEqual(methods.map(nameOf).sort());
  expect(Object.fromEntries([...table].map(([name, { permission }]) => [name, permission]))).toEqual(
    Object.fromEntries(methods.map((method) => [nameOf(method), permissionOf(method)])),
  );
});

describe.each(methods.map((method) => [nameOf(method), method] as const))("%s", (name, method) => {
  test("may be called by those of the table and nobody else", async () => {
    const cells = table.get(name)?.cells ?? {};
    expect(await isAllowed(method, withToken(undefined)), "anonymous").toBe(false);
    expect(await isAllowed(method, withToken(tokens.get("operator of the installation"))), "operator").toBe(true);
    const found: Record<string, string> = {};
    for (const who of ["known", "service", ...ROLES]) {
      found[who] = (await isAllowed(method, withToken(tokens.get(who)))) ? "yes" : "–";
    }
    const components = [];
    for (const id of COMPONENTS) {
      if (await isAllowed(method, { principal: componentPrincipal(id) })) components.push(id);
    }
    const { "others'": _, elsewhere: __, ...expected } = cells;
    expect({ ...found, parts: components.join(", ") || "–" }).toEqual(expected);
  });

  test("makes of another owner and another environment what the table says", async () => {
    const { "others'": others = "", elsewhere = "", admin } = table.get(name)?.cells ?? {};
    expect(others).toMatch(/^(yes|–|owner)$/);
    const asks = (environment: string) =>
      isAllowed(method, withToken(tokens.get("elsewhere")), requestAbout(method.input, environment));
    expect(await asks("default"), "about another environment").toBe(elsewhere !== "–");
    if (elsewhere.includes("itest")) shown(elsewhere);
    // The same principal may there where it lives what its role may; without an environment there is no such place.
    const mayAtHome = elsewhere !== "–" || (namesEnvironment(method) && admin === "yes");
    expect(await asks("staging"), "about its own environment").toBe(mayAtHome);
  });
});

test("most methods that name an environment are tried where an admin of it may call them", () => {
  const isTried = (method: DescMethod) => {
    const { elsewhere, admin } = table.get(nameOf(method))?.cells ?? {};
    return namesEnvironment(method) && elsewhere === "–" && admin === "yes";
  };
  expect(methods.filter(isTried).length).toBeGreaterThan(15);
});

test("a request about an environment says so also deep inside", () => {
  const { input } = mesh.MeshService.method.setService;
  expect(create(input, requestAbout(input, "staging") as never)).toMatchObject({ service: { environment: "staging" } });
});

/** A cell that names a test names one that there is. */
function shown(cell: string): void {
  const [file = "", title = ""] = cell.split(": ");
  const path = new URL(file, root);
  expect(existsSync(path), file).toBe(true);
  expect(readFileSync(path, "utf8")).toContain(`test("${title}"`);
}
