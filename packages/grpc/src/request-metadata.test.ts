import { expect, test } from "vitest";
import { metadataOf } from "./request-metadata.ts";

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
  });
  expect({ ...metadataOf(header) }).toEqual({
    traceparent: "00-1-2-01",
    "x-request-id": "r-1",
    "trace-bin": "AAEC",
    "x-hms-environment": "staging",
  });
});
