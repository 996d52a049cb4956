import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { errorDetails } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { namesLeadTo, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectHttp } from "./index.ts";
import { echoContract, texts, valuesOf } from "./testing/index.ts";

const contract = echoContract();
let stack = new AsyncDisposableStack();
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const seen: { authorization: string | null; aborted: boolean } = { authorization: null, aborted: false };

/** A Connect server that we did not write. */
async function foreignServer() {
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(
        contract as never,
        {
          read: ({ value }: { value: string }, { requestHeader }: { requestHeader: Headers }) => {
            seen.authorization = requestHeader.get("authorization");
            if (value !== "fail") return { value: `read ${value}` };
            const info = { desc: errorDetails.ErrorInfoSchema, value: { reason: "ASKED_TO", domain: "hms-sys" } };
            throw new ConnectError("asked to fail", Code.FailedPrecondition, undefined, [info]);
          },
          write: (_: unknown, { signal }: { signal: AbortSignal }) =>
            new Promise((_, reject) =>
              signal.addEventListener("abort", () => {
                seen.aborted = true;
                reject(signal.reason);
              }),
            ),
          async *list({ value }: { value: string }) {
            for (const part of value.split(",")) {
              if (part === "fail") throw new ConnectError("asked to fail", Code.Aborted);
              yield { value: part };
            }
          },
          async collect(requests: AsyncIterable<{ value: string }>) {
            const values: string[] = [];
            for await (const { value } of requests) values.push(value);
            return { value: values.join("+") };
          },
        } as never,
      );
    },
  });
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const channel = connectHttp({ address, token: "t-1" });
  stack.defer(() => channel.close());
  return createClient(contract, channel);
}

test("a Connect server is called over HTTP/1.1, with the token and in streams", async () => {
  const client = await foreignServer();
  expect((await client.read({ value: "x" })).value).toBe("read x");
  expect(seen.authorization).toBe("Bearer t-1");
  expect(await valuesOf(client.list({ value: "a,b" }))).toEqual(["a", "b"]);
  expect((await client.collect(texts("a", "b"))).value).toBe("a+b");
});

test("its errors arrive with code and details, from streams too", async () => {
  const client = await foreignServer();
  await expect(client.read({ value: "fail" })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: "asked to fail",
    details: { reason: "ASKED_TO" },
  });
  await expect(valuesOf(client.list({ value: "a,fail" }))).rejects.toMatchObject({ code: "ABORTED" });
  await expect(valuesOf(client.converse(texts("a")))).rejects.toMatchObject({ code: expect.any(String) });
});

test("a deadline ends the call on both sides", async () => {
  const client = await foreignServer();
  await expect(client.write({ value: "" }, { timeoutMs: 100 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  await waitFor(() => seen.aborted, { describe: "the handler to be told" });
});

test("a server that is not there is told from one that broke", async () => {
  const channel = connectHttp({ address: "http://127.0.0.1:1" });
  const client = createClient(contract, channel);
  await expect(client.read({ value: "" })).rejects.toMatchObject({
    code: "UNAVAILABLE",
    details: { reason: "NOT_CONNECTED" },
  });
});

test("a name that leads to a special network is not connected to, although somebody answers there", async () => {
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    response.end("{}");
  }).listen(0, "0.0.0.0");
  await once(server, "listening");
  stack.defer(() => void server.close());
  const address = `http://metadata.example:${(server.address() as AddressInfo).port}`;
  using _ = namesLeadTo({ "metadata.example": "0.0.0.0" });
  const client = createClient(contract, connectHttp({ address }));
  await expect(client.read({ value: "" })).rejects.toMatchObject({
    message: expect.stringContaining("leads to 0.0.0.0, where no service is"),
    details: { reason: "NOT_CONNECTED" },
  });
  expect(asked).toBe(0);
});

test("a callee that answers without end is left, and costs no memory", async () => {
  let left = 0;
  const piece = Buffer.alloc(1 << 20, 0x20);
  const endless = createServer((request, response) => {
    request.resume();
    response.once("close", () => {
      left += 1;
    });
    const isStream = request.headers["content-type"] === "application/connect+json";
    response.writeHead(200, { "content-type": isStream ? "application/connect+json" : "application/json" });
    if (isStream) response.write(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    const more = () => {
      while (!response.destroyed && response.write(piece));
    };
    response.on("drain", more);
    more();
  }).listen(0, "127.0.0.1");
  await once(endless, "listening");
  stack.defer(() => {
    endless.closeAllConnections();
    endless.close();
  });
  const channel = connectHttp({ address: `http://127.0.0.1:${(endless.address() as AddressInfo).port}` });
  stack.defer(() => channel.close());
  const client = createClient(contract, channel);
  const tooLarge = { code: "RESOURCE_EXHAUSTED", details: { reason: "MESSAGE_TOO_LARGE" } };
  await expect(client.read({ value: "" })).rejects.toMatchObject(tooLarge);
  await expect(valuesOf(client.list({ value: "" }))).rejects.toMatchObject(tooLarge);
  await waitFor(() => left === 2, { describe: "both connections to be left" });
});
