import { describe, expect, test } from "vitest";
import { AnswerFields, metadataOfFields } from "./index.ts";

const names = (metadata: Record<string, string>, readers: "grpc" | "anybody") =>
  new AnswerFields(readers).of(metadata).map(([name]) => name);

describe("metadata beside an answer, as fields of HTTP", () => {
  test("is what a service made up: in gRPC by any name, elsewhere where the name says so", () => {
    const said = { "x-shelf": "7", "trace-bin": "AAEC", shelf: "8" };
    expect(names(said, "grpc")).toEqual(["x-shelf", "trace-bin", "shelf"]);
    expect(names(said, "anybody")).toEqual(["x-shelf", "trace-bin"]);
  });

  test.each([
    ...["set-cookie", "authorization", "www-authenticate", "cookie", "clear-site-data", "location", "refresh"],
    ...["connection", "transfer-encoding", "content-length", "content-type", "trailer", "te", "keep-alive", "upgrade"],
    ...["hms-anything", "x-hms-environment", "x-request-id", "grpc-status", "connect-protocol-version", "trailer-x"],
    ...["access-control-allow-origin", "content-security-policy", "strict-transport-security", "x-frame-options"],
    ...["x-forwarded-for", "x-accel-redirect", "x-sendfile", "etag", "cache-control", "vary", "host", ":status", ""],
    ...["X-Upper", "x-a b", "x-ü", "__proto__"],
  ])("never has the name %j", (name) => {
    expect(names(JSON.parse(`{${JSON.stringify(name)}: "v"}`), "grpc")).toEqual([]);
  });

  test("leaves out values that could end a field, and what is too much", () => {
    expect(names({ "x-a": "a\r\nset-cookie: b", "x-b": "ä", "x-c": "", "x-d": "\0" }, "anybody")).toEqual(["x-c"]);
    expect(names({ "x-a": "a".repeat(6000), "x-b": "b".repeat(1000), "x-c": "c" }, "anybody")).toEqual(["x-a"]);
    const call = new AnswerFields("anybody");
    expect([call.of({ "x-a": "a".repeat(4000) }).length, call.of({ "x-b": "b".repeat(4000) }).length]).toEqual([1, 0]);
  });

  test("is read from another server's answer by the same rule", () => {
    const header = new Headers({ "content-type": "application/grpc", shelf: "7", "set-cookie": "a=b", date: "now" });
    expect(metadataOfFields(header)).toEqual({ shelf: "7" });
    expect(metadataOfFields(new Headers({ date: "now" }))).toBeUndefined();
  });
});
