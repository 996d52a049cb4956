import { expect, test } from "vitest";
import { headerOf, metadataOf } from "./request-metadata.ts";

test("what is about the call goes with it, what is about the request or secret does not", () => {
  const header = new Headers({
    traceparent: "00-1-2-01",
    "X-Request-Id": "r-1",
    "trace-bin": "AAEC",
    "x-hms-environment": "staging",
    authorization: "Bearer secret",
    cookie: "a=b",
    "grpc-timeout": "1S",
    "connect-protocol-version": "1",
    "content-type": "application/grpc",
    "user-agent": "x",
    "x-forwarded-for": "1.2.3.4",
    "sec-fetch-mode": "cors",
    "hms-anything": "1",
    "proxy-authorization": "Basic a",
  });
  expect({ ...metadataOf(header) }).toEqual({
    traceparent: "00-1-2-01",
    "x-request-id": "r-1",
    "trace-bin": "AAEC",
    "x-hms-environment": "staging",
  });
});

test("metadata of any caller becomes fields that say nothing of the request itself", () => {
  const said = { authorization: "Ticket t", traceparent: "00-1-2-01", "x-a": "1", shelf: "2", "t-bin": "AAEC" };
  const not = {
    "grpc-timeout": "1H",
    connection: "close",
    cookie: "a=b",
    host: "h",
    ":path": "/",
    "x b": "c",
    te: "x",
  };
  const header = headerOf({ ...said, ...not, "x-line": "a\r\nb: c", "x-wide": "ł" });
  expect(Object.fromEntries(header)).toEqual(said);
});
