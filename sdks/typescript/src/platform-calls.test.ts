import { HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { callPatiently } from "./platform-calls.ts";

/** Fails so often before it answers. */
function failing(times: number, code: "UNAVAILABLE" | "NOT_FOUND") {
  const call = async () => {
    call.made += 1;
    if (call.made <= times) throw new HmsError(code, "Not now.");
    return "answer";
  };
  call.made = 0;
  return call;
}

describe("a call of the platform", () => {
  test("is made again while the platform is away", async () => {
    const call = failing(3, "UNAVAILABLE");
    expect(await callPatiently(call)).toBe("answer");
    expect(call.made).toBe(4);
  });

  test("fails at once if the platform has said no", async () => {
    const call = failing(1, "NOT_FOUND");
    await expect(callPatiently(call)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(call.made).toBe(1);
  });

  test("is made once without patience, and no more once nobody waits", async () => {
    const call = failing(9, "UNAVAILABLE");
    await expect(callPatiently(call, { patienceMs: 0 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(call.made).toBe(1);
    await expect(callPatiently(call, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(call.made).toBe(2);
  });
});
