import { anonymous, HmsError, type IdentitySource } from "@hms/kernel";
import { expect, test } from "vitest";
import { limitStrangers } from "./index.ts";

const operator = { kind: "operator", id: "operator" } as const;
const source: IdentitySource = {
  authenticate({ token }) {
    if (token === undefined) return anonymous;
    if (token === "good") return operator;
    if (token === "later") return Promise.resolve(operator);
    throw new HmsError("UNAUTHENTICATED", "unknown");
  },
};
const network = { transport: "network" } as const;

async function endOf(identity: IdentitySource, token?: string): Promise<string> {
  try {
    const found = await identity.authenticate(token === undefined ? network : { ...network, token });
    return found.kind;
  } catch (error) {
    return HmsError.from(error).details.reason ?? HmsError.from(error).code;
  }
}

test("strangers beyond a hundred are turned away, by anonymous calls and wrong tokens alike, and nobody else", async () => {
  let now = 0;
  const identity = limitStrangers(source, () => now);
  for (let n = 0; n < 50; n += 1) expect(await endOf(identity)).toBe("anonymous");
  for (let n = 0; n < 50; n += 1) expect(await endOf(identity, "bad")).toBe("UNAUTHENTICATED");
  expect([await endOf(identity), await endOf(identity, "bad")]).toEqual(["TOO_MANY_DENIALS", "TOO_MANY_DENIALS"]);
  expect([await endOf(identity, "good"), await endOf(identity, "later")]).toEqual(["operator", "operator"]);
  let known = 0;
  const noteKnown = () => {
    known += 1;
  };
  const connection = { ...network, known: noteKnown };
  await identity.authenticate({ ...connection, token: "later" });
  await identity.authenticate({ ...connection, token: "good" });
  expect(known).toBe(2);
  now = 500;
  expect([await endOf(identity), await endOf(identity)]).toEqual(["anonymous", "TOO_MANY_DENIALS"]);
  now = 1_000_000;
  for (let n = 0; n < 100; n += 1) expect(await endOf(identity)).toBe("anonymous");
  expect(await endOf(identity)).toBe("TOO_MANY_DENIALS");
});
