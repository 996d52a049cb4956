import { describe, expect, test } from "vitest";
import { pathTarget, rpcTarget } from "./rpc-target.ts";

const NAMED = { service: "a.b.v1.Svc", method: "Do" };
const PATH = "/a.b.v1.Svc/Do";

describe("a request is told to be a call", () => {
  test.each([
    ["application/grpc", "grpc", true],
    ["application/grpc+proto", "grpc", true],
    ["application/grpc-web+json", "grpc-web", true],
    ["application/connect+proto", "connect-stream", true],
    ["application/proto", "connect", true],
    ["application/json", "connect", false],
    ["Application/JSON; charset=utf-8", "connect", false],
  ])("by POST of %s", (type, protocol, certain) => {
    expect(rpcTarget("POST", PATH, type)).toEqual({ ...NAMED, protocol, certain });
  });

  test("by GET with Connect's query", () => {
    const url = `${PATH}?connect=v1&encoding=json&message=%7B%7D`;
    expect(rpcTarget("GET", url)).toEqual({ ...NAMED, protocol: "connect", certain: false });
    expect(rpcTarget("GET", `${PATH}?a=encoding`)).toBeUndefined();
    expect(rpcTarget("GET", PATH)).toBeUndefined();
  });

  test.each([
    ["another media type", "POST", PATH, "text/plain"],
    ["one that only begins alike", "POST", PATH, "application/grpcx"],
    ["no media type", "POST", PATH, undefined],
    ["another method", "PUT", PATH, "application/grpc"],
    ["a longer path", "POST", `${PATH}/more`, "application/grpc"],
    ["a path with odd characters", "POST", "/a.b/%44o", "application/grpc"],
    ["no path", "OPTIONS", "*", undefined],
  ])("and none with %s", (_, verb, url, type) => {
    expect(rpcTarget(verb, url, type)).toBeUndefined();
  });

  test("its path names service and method", () => {
    expect(pathTarget(`${PATH}?a=b/c`)).toEqual(NAMED);
    expect(pathTarget("/Greeter/SayHello")).toEqual({ service: "Greeter", method: "SayHello" });
    expect(pathTarget("/")).toBeUndefined();
  });
});
