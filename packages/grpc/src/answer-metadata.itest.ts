import { request } from "node:http";
import { createClient as createConnectClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { HmsError, type Metadata } from "@hms/kernel";
import { echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { contract, RpcStage, texts } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());

const SAID = { "x-shelf": "7", shelf: "8", "set-cookie": "a=b", "x-hms-anything": "1", "grpc-status": "3" };

/** Handlers that say something before their first answer and after their last one. */
const kernel = () =>
  echoKernel(contract, {
    unary({ value }, context) {
      context.sendMetadata(SAID);
      if (value === "fail") throw new HmsError("NOT_FOUND", "asked to fail");
      return { value };
    },
    async *serverStream({ value }, context) {
      context.sendMetadata(SAID);
      yield { value };
      context.sendMetadata({ "x-rest": "0", rest: "1", cookie: "c=d" });
    },
  });

/** What a client is told of: those of the names that the handlers say. */
function heard(header: Headers | undefined) {
  const names = ["x-shelf", "shelf", "x-rest", "rest", "set-cookie", "cookie", "x-hms-anything"];
  return Object.fromEntries(names.flatMap((name) => (header?.has(name) ? [[name, header.get(name)]] : [])));
}

describe("what a handler says beside its answers", () => {
  test.each([
    ["gRPC", "2", createGrpcTransport, { "x-shelf": "7", shelf: "8" }, { "x-rest": "0", rest: "1" }],
    ["gRPC-Web", "1.1", createGrpcWebTransport, { "x-shelf": "7" }, { "x-rest": "0" }],
    ["Connect", "1.1", createConnectTransport, { "x-shelf": "7" }, { "x-rest": "0" }],
  ] as const)(
    "reaches %s clients as headers and trailers, by the rule",
    async (_, httpVersion, create, early, late) => {
      const { http: baseUrl } = await stage.serve({ kernel: kernel() });
      const client = createConnectClient(contract, create({ baseUrl, httpVersion } as never));
      const seen: { header?: Headers; trailer?: Headers } = {};
      const hear = {
        onHeader: (header: Headers) => (seen.header = header),
        onTrailer: (trailer: Headers) => (seen.trailer = trailer),
      };
      expect((await client.unary({ value: "a" }, hear)).value).toBe("a");
      expect(heard(seen.header)).toEqual(early);
      expect(heard(seen.trailer)).toEqual({});
      expect(await texts(client.serverStream({ value: "a" }, hear))).toEqual(["a"]);
      expect(heard(seen.header)).toEqual(early);
      expect(heard(seen.trailer)).toEqual(late);
      await expect(client.unary({ value: "fail" })).rejects.toThrow("asked to fail");
    },
  );

  test("reaches the platform's own client of a gRPC server, whatever calls it for whom", async () => {
    const { address } = await stage.serve({ kernel: kernel() });
    const { client } = stage.connect({ address });
    const seen: Metadata[] = [];
    const onMetadata = (metadata: Metadata) => void seen.push(metadata);
    await client.unary({ value: "a" }, { onMetadata });
    await texts(client.serverStream({ value: "a" }, { onMetadata }));
    const early = { "x-shelf": "7", shelf: "8" };
    expect(seen).toEqual([early, early, { "x-rest": "0", rest: "1" }]);
  });

  test("comes the other way round as the call's metadata, without secrets and what is reserved", async () => {
    let came: Metadata = {};
    const noting = echoKernel(contract, {
      unary({ value }, { metadata }) {
        came = metadata;
        return { value };
      },
    });
    const { address, http } = await stage.serve({ kernel: noting });
    const metadata = { "x-a": "1", shelf: "2", "t-bin": "AAEC", "hms-a": "3", "x line": "4", cookie: "c", te: "x" };
    await stage.connect({ address, token: "t" }).client.unary({ value: "a" }, { metadata });
    const { "x-request-id": _, ...others } = came;
    expect(others).toEqual({ "x-a": "1", shelf: "2", "t-bin": "AAEC" });
    const headers = {
      "content-type": "application/json",
      authorization: "Bearer t",
      "x-a": "1",
      "hms-a": "2",
      cookie: "c",
    };
    await new Promise((resolve) =>
      request(`${http}/${contract.typeName}/Unary`, { method: "POST", headers }, resolve).end('"a"'),
    );
    expect(came).toEqual({ "x-a": "1" });
  });
});
