import { ChangeSignal, createClient, HmsError, Kernel, type MethodEntry, type MethodName } from "@hms/kernel";
import { echoContract, echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";
import { Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();
const answering = echoKernel(contract);

type Found = MethodEntry | undefined;

/** A server that serves nothing itself and asks `find` for every method. */
async function served(find: (name: MethodName) => Found | Promise<Found>) {
  const kernel = new Kernel({
    ...answering.options,
    elsewhere: { find, services: () => [contract], changed: new ChangeSignal() },
  });
  const path = await stage.socketPath();
  const server = await serveSocket(kernel, { path, graceMs: 200 });
  stage.defer(() => server.close({ graceMs: 0 }));
  const transport = connectSocket({ path, token: "t" });
  stage.defer(() => transport.close());
  return { server, transport, client: createClient(contract, transport) };
}

const entry = ({ service, method }: MethodName) => answering.find(service, method);

async function* each(...values: string[]) {
  for (const value of values) yield { value };
}

async function texts(messages: AsyncIterable<{ value: string }>) {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}

describe("a method that is served elsewhere", () => {
  test.each([
    ["at once", entry],
    ["after a while", async (name: MethodName) => entry(name)],
  ])("is found %s and answers in all four ways", async (_, find) => {
    const { client } = await served(find);
    expect((await client.unary({ value: "a" })).value).toMatch(/^a id=/);
    expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(each("a", "", "c"))).value).toBe("a++c");
    expect(await texts(client.bidi(each("a", "b")))).toEqual(["re: a", "re: b"]);
    await expect(client.unary({ value: "fail" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("is asked for anew by each call, in the environment that the call names", async () => {
    const asked: MethodName[] = [];
    const { client } = await served((name) => {
      asked.push(name);
      return asked.length === 2 ? undefined : entry(name);
    });
    await client.unary({ value: "a" }, { metadata: { "x-hms-environment": "staging" } });
    await expect(client.unary({ value: "a" })).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    await client.unary({ value: "a" });
    const name = { service: contract.typeName, method: "Unary" };
    expect(asked).toEqual(["staging", "default", "default"].map((environment) => ({ ...name, environment })));
  });

  test("that nobody can tell of fails with that error, and the connection goes on", async () => {
    let broken = true;
    const { client } = await served(async (name) => {
      if (broken) throw new HmsError("UNAVAILABLE", "The registry is away.");
      return entry(name);
    });
    const away = { code: "UNAVAILABLE", message: "The registry is away." };
    await expect(client.unary({ value: "a" })).rejects.toMatchObject(away);
    await expect(client.clientStream(each("a"))).rejects.toMatchObject(away);
    broken = false;
    await client.unary({ value: "a" });
  });

  test("is not called any more if its caller has left before it was found", async () => {
    const waiting: ((found: Found) => void)[] = [];
    const { client } = await served(() => new Promise((resolve) => waiting.push(resolve)));
    const leave = new AbortController();
    const left = client.unary({ value: "left" }, { signal: leave.signal }).catch((error) => error.code);
    await until(() => waiting.length === 1);
    leave.abort();
    expect(await left).toBe("CANCELLED");
    const stayed = client.unary({ value: "stayed" });
    await until(() => waiting.length === 2);
    const called: string[] = [];
    const handler = ({ value }: { value: string }) => {
      called.push(value);
      return { value };
    };
    for (const found of waiting) found({ ...(answering.find(contract.typeName, "Unary") as MethodEntry), handler });
    expect((await stayed).value).toBe("stayed");
    expect(called).toEqual(["stayed"]);
  });
});
