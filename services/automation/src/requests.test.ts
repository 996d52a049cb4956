import { HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { readLabels } from "./label-filter.ts";
import { readRunCursor, readStepCursor, writeRunCursor, writeStepCursor } from "./log-cursor.ts";
import { calledMethod } from "./method-call.ts";
import { readPageToken } from "./page-token.ts";
import { keptPrincipal } from "./run-principal.ts";

const codeOf = (work: () => unknown) => {
  try {
    return work();
  } catch (error) {
    return HmsError.from(error).code;
  }
};

test.each([
  ["call/hms.sys.mesh.v1.MeshService/GetSnapshot", { service: "hms.sys.mesh.v1.MeshService", method: "GetSnapshot" }],
  ["call/helloworld.Greeter/SayHello", { service: "helloworld.Greeter", method: "SayHello" }],
  ["call/Greeter/SayHello", undefined],
  ["call/a.b/c/d", undefined],
  ["call/a..b/C", undefined],
  ["ssh/script", undefined],
])("%s names the method %j", (uses, method) => expect(calledMethod(uses)).toEqual(method));

describe("a cursor of a log", () => {
  test("is read as it was written", () => {
    const step = { attempt: 2, seq: 7 };
    expect(readStepCursor(writeStepCursor(step))).toEqual(step);
    expect(readRunCursor(writeRunCursor(12))).toBe(12);
    expect([readStepCursor(""), readRunCursor("")]).toEqual([undefined, 0]);
  });

  test("of another log, or of nobody, is refused", () => {
    const step = writeStepCursor({ attempt: 1, seq: 1 });
    const run = writeRunCursor(1);
    for (const text of ["x", "e30", step]) expect(codeOf(() => readRunCursor(text))).toBe("INVALID_ARGUMENT");
    for (const text of ["x", "e30", run]) expect(codeOf(() => readStepCursor(text))).toBe("INVALID_ARGUMENT");
  });
});

test("labels are looked for with their value, or with any", () => {
  expect(readLabels(["team=sre", "batch", "url=a=b"])).toEqual({ team: "sre", batch: null, url: "a=b" });
  expect(codeOf(() => readLabels(["=x"]))).toBe("INVALID_ARGUMENT");
  expect(codeOf(() => readLabels(["a=1", "a"]))).toBe("INVALID_ARGUMENT");
  expect(codeOf(() => readPageToken("x"))).toBe("INVALID_ARGUMENT");
});

test("a run keeps the limits of what was shown, and nothing that a new session changes", () => {
  const shown = { kind: "user", id: "anna", scopes: ["runs:start"], mfa: true, credential: "session" } as const;
  const session = { ...shown, login: "Anna", roles: ["admin"], groups: ["g"], endsAtMs: 1, methods: ["pwd"] };
  expect(keptPrincipal({ ...session, authenticatedAtMs: 5 })).toEqual(shown);
  const program = { kind: "service", id: "default/etl", environment: "default", roles: ["worker"] } as const;
  expect(keptPrincipal(program)).toEqual(program);
});
