import { grpcHealth } from "@hms/contracts";
import {
  anonymous,
  ChangeSignal,
  type Credentials,
  createClient,
  HmsError,
  Kernel,
  type MethodEntry,
  type ServiceImplementation,
} from "@hms/kernel";
import { type EchoContract, echoKernel, waitFor } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { contract, each, RpcStage, texts } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());

const servedBy = (own: Partial<ServiceImplementation<EchoContract>>) =>
  stage.serve({ kernel: echoKernel(contract, own) });

describe("a call by gRPC", () => {
  test("goes all four ways, with metadata, deadline and principal", async () => {
    const { address } = await stage.serve();
    const { client } = stage.connect({ address, token: "t" });
    const options = { metadata: { "x-request-id": "r-1" }, timeoutMs: 5_000 };
    expect((await client.unary({ value: "ä" }, options)).value).toBe("ä id=r-1 by=operator deadline=true");
    expect((await client.unary({ value: "a" })).value).toContain("deadline=false");
    expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(each("a", "", "c"))).value).toBe("a++c");
    expect(await texts(client.bidi(each("a", "b")))).toEqual(["re: a", "re: b"]);
  });

  test("brings errors back whole, with the details that frames carry", async () => {
    const { address } = await servedBy({
      unary: () => {
        throw new HmsError("FAILED_PRECONDITION", "Übel — 100 %.", {
          reason: "NOT_NOW",
          metadata: { holder: "x" },
          fieldViolations: [{ field: "a.b", description: "wrong", line: 3, column: 5 }],
          retryAfterMs: 1_500,
        });
      },
    });
    const { client } = stage.connect({ address });
    await expect(client.unary({})).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "Übel — 100 %.",
      details: {
        reason: "NOT_NOW",
        metadata: { holder: "x" },
        fieldViolations: [{ field: "a.b", description: "wrong", line: 3, column: 5 }],
        retryAfterMs: 1_500,
      },
    });
  });

  test("brings an error back although its text and details are larger than header fields may be", async () => {
    const { address } = await servedBy({
      unary: () => {
        const fieldViolations = Array.from({ length: 500 }, (_, n) => ({
          field: `f${n}`,
          description: "x".repeat(500),
        }));
        throw new HmsError("INVALID_ARGUMENT", `${"y".repeat(100_000)}\ud800`, { reason: "LARGE", fieldViolations });
      },
    });
    const error = await stage
      .connect({ address })
      .client.unary({})
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", details: { reason: "LARGE" } });
    expect(error.message.length).toBeLessThan(3_000);
  });

  test("stops its handler at the deadline, when its caller leaves, and when the connection ends", async () => {
    const stopped: string[] = [];
    const hang = ({ value }: { value: string }, { signal }: { signal: AbortSignal }) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => {
          stopped.push(`${value} ${signal.reason.code}`);
          reject(signal.reason);
        });
        running.push(value);
      });
    const running: string[] = [];
    const { address } = await servedBy({ unary: hang });
    const { client, transport } = stage.connect({ address });
    await expect(client.unary({ value: "late" }, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    const leave = new AbortController();
    const left = client.unary({ value: "left" }, { signal: leave.signal });
    const lost = client.unary({ value: "lost" });
    const ends = [left, lost].map((call) => call.catch((error) => error.code));
    await waitFor(() => running.length === 3, { describe: "three calls" });
    leave.abort();
    await waitFor(() => stopped.length === 2, { describe: "the second handler to stop" });
    await transport.close();
    await waitFor(() => stopped.length === 3, { describe: "the third handler to stop" });
    expect(await Promise.all(ends)).toEqual(["CANCELLED", "CANCELLED"]);
    expect(stopped.map((text) => text.split(" ")[0])).toEqual(["late", "left", "lost"]);
  });

  test("stops a stream that its reader leaves, and holds up a sender whose reader is slow", async () => {
    let produced = 0;
    let ended = false;
    const value = "x".repeat(10_000);
    const { address } = await servedBy({
      async *serverStream() {
        try {
          for (;;) {
            yield { value };
            produced += 1;
          }
        } finally {
          ended = true;
        }
      },
    });
    const { client } = stage.connect({ address });
    const reader = client.serverStream({})[Symbol.asyncIterator]();
    await reader.next();
    let before = -1;
    await waitFor(
      () => {
        const still = produced === before;
        before = produced;
        return still;
      },
      { describe: "the sender to pause", intervalMs: 100 },
    );
    expect(produced).toBeLessThan(500);
    await reader.return?.();
    await waitFor(() => ended, { describe: "the handler to end" });
  });

  test("of nobody, to a method that is not served, says so", async () => {
    const { address } = await stage.serve({ kernel: new Kernel({} as never) });
    await expect(stage.connect({ address }).client.unary({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: "hms.test.v1.EchoService/Unary is not served here.",
    });
  });

  test("is UNAVAILABLE and was not made, where nobody answers", async () => {
    const { address, close } = await stage.serve();
    await close();
    await expect(stage.connect({ address }).client.unary({})).rejects.toMatchObject({
      code: "UNAVAILABLE",
      details: { reason: "NOT_CONNECTED" },
    });
  });

  test("is UNAVAILABLE, and may have been made, if the server goes away meanwhile", async () => {
    let running = 0;
    const hang = () => {
      running += 1;
      return new Promise<never>(() => {});
    };
    const { address, close } = await servedBy({
      unary: hang,
      async *serverStream() {
        yield { value: "a" };
        await hang();
      },
    });
    const { client } = stage.connect({ address });
    const ends = [client.unary({}), texts(client.serverStream({}))].map((call) => call.catch((error) => error));
    await waitFor(() => running === 2, { describe: "two calls" });
    await close({ graceMs: 0 });
    const lost = { code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } };
    expect(await Promise.all(ends)).toMatchObject([lost, lost]);
  });

  test("reaches methods that are served elsewhere, found anew in the environment it names", async () => {
    const answering = echoKernel(contract);
    const asked: string[] = [];
    const find = async ({ service, method, environment }: { service: string; method: string; environment: string }) => {
      asked.push(environment);
      return environment === "gone" ? undefined : (answering.find(service, method) as MethodEntry);
    };
    const elsewhere = { find, services: () => [contract], changed: new ChangeSignal() };
    const { address } = await stage.serve({ kernel: new Kernel({ ...answering.options, elsewhere }) });
    const { client } = stage.connect({ address });
    const within = (environment: string) => ({ metadata: { "x-hms-environment": environment } });
    expect((await client.unary({ value: "a" }, within("staging"))).value).toContain("a id=");
    await expect(client.unary({}, within("gone"))).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    expect(await texts(client.bidi(each("a")))).toEqual(["re: a"]);
    expect(asked).toEqual(["staging", "gone", "default"]);
  });

  test("shows tokens and tickets, the same object for the same one on a connection", async () => {
    const seen: Credentials[] = [];
    const authenticate = (credentials: Credentials) => {
      seen.push(credentials);
      return anonymous;
    };
    const { address } = await stage.serve({ kernel: echoKernel(contract, {}, { identity: { authenticate } }) });
    const { client } = stage.connect({ address, token: "t" });
    await client.unary({});
    const ticket = { metadata: { authorization: "Ticket hms1.a.b" } };
    for (let n = 0; n < 2; n += 1) await client.unary({}, ticket);
    // Each is judged before the request is read, and with the call.
    expect(seen).toHaveLength(6);
    expect([...new Set(seen)]).toEqual([
      { transport: "network", token: "t" },
      { transport: "network", ticket: "hms1.a.b" },
    ]);
  });

  test("would not carry a token unencrypted to another machine", async () => {
    const { client } = stage.connect({ address: "grpc://192.0.2.1:1", token: "t" });
    await expect(client.unary({})).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  test("may finish when the server stops, unless it only reads and never ends", async () => {
    let finish: (() => void) | undefined;
    const kernel = echoKernel(contract, {
      unary: () =>
        new Promise((resolve) => {
          finish = () => resolve({ value: "done" });
        }),
    });
    const { address, close } = await stage.serve({ kernel, openReflection: true });
    const { client, transport } = stage.connect({ address });
    const call = client.unary({});
    const watch = createClient(grpcHealth.Health, transport).watch({})[Symbol.asyncIterator]();
    await watch.next();
    await waitFor(() => finish, { describe: "the call to run" });
    const closing = close({ graceMs: 10_000 });
    await expect(watch.next()).rejects.toMatchObject({ code: "UNAVAILABLE", details: { reason: "SERVER_STOPPING" } });
    finish?.();
    expect((await call).value).toBe("done");
    await closing;
  });
});
