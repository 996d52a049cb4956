import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { CallContext } from "@hms/kernel";
import { HmsError } from "@hms/kernel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

const SAID = {
  "x-shelf": "7",
  "set-cookie": "__Host-hms_session=theirs",
  "content-type": "text/html",
  "x-content-type-options": "none",
  "access-control-allow-origin": "*",
  "x-hms-conflicts": "1",
  shelf: "8",
};

let edge: EdgeFixture;
beforeAll(async () => {
  edge = await edgeFixture({
    handlers: {
      getBook({ name }: { name: string }, context: CallContext) {
        context.sendMetadata(SAID);
        if (name.endsWith("/none")) throw new HmsError("NOT_FOUND", "There is none.");
        return { name };
      },
      async *watchBooks(_: unknown, context: CallContext) {
        context.sendMetadata(SAID);
        yield { name: "books/1" };
        context.sendMetadata({ "x-rest": "0", cookie: "a=b" });
        context.sendMetadata({ "x-sum": "1" });
      },
    },
  });
});
afterAll(() => edge?.[Symbol.asyncDispose]());

async function watched(te?: string): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${TOKEN}`, ...(te === undefined ? {} : { te }) };
  const request = httpRequest({ port: edge.port, path: "/v1/books:watch", headers });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  return response;
}

describe("what a method says beside its answers", () => {
  test("goes with the head of the response, also of an error, and nothing of it counts for the browser", async () => {
    for (const [path, status] of [
      ["/v1/shelves/1/books/2", 200],
      ["/v1/shelves/1/books/none", 404],
    ] as const) {
      const { headers, status: found } = await edge.fetch(path);
      expect([found, headers.get("x-shelf"), headers.get("content-type")]).toEqual([status, "7", "application/json"]);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      for (const name of ["set-cookie", "access-control-allow-origin", "x-hms-conflicts", "shelf"])
        expect([name, headers.get(name)]).toEqual([name, null]);
    }
  });

  test("goes with the trailers of a stream that has begun, to clients that say that they read them", async () => {
    const response = await watched("trailers");
    expect(response.headers["x-shelf"]).toBe("7");
    expect(response.trailers).toEqual({ "x-rest": "0", "x-sum": "1" });
    expect((await watched()).trailers).toEqual({});
  });
});
