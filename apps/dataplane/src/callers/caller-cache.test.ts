import { type CallerAnswer, CallerMemo } from "@hms/proxy";
import { beforeEach, describe, expect, test } from "vitest";
import { CallerCache, type Identified } from "./caller-cache.ts";

let now = 0;
let asked: string[];
let answer: (token: string) => Promise<Identified>;
let cache: CallerCache;
const callerNamed = (name: string) => ({
  name,
  roles: [],
  hasMfa: false,
  authenticatedAtMs: 0,
  environment: "",
  isPermitted: true,
  isWithinScopes: true,
});

beforeEach(() => {
  now = 1_000_000;
  asked = [];
  answer = async (token) =>
    token.startsWith("bad") ? undefined : { caller: callerNamed(`user:${token}`), endsAtMs: 0 };
  cache = new CallerCache({
    now: () => now,
    identify: ({ token, permission }) => {
      asked.push(permission === "" ? token : `${token} ${permission}`);
      return answer(token);
    },
  });
  cache.revokeAll();
});

const ask = (token: string, { permission = "", isSafe = true, address = "1.1.1.1" } = {}) =>
  cache.find({ token, permission, isSafe, address });
const kindOf = async (found: CallerAnswer | Promise<CallerAnswer>) => (await found).kind;
/** Lets 60 s pass in which the server is heard. */
const pass = (ms: number) => {
  for (let left = ms; left > 0; left -= 2000) {
    now += Math.min(left, 2000);
    cache.revoke([]);
  }
};

describe("callers that are remembered", () => {
  test("cost one question in a minute, for each permission, and are known at once then", async () => {
    expect(await kindOf(ask("anna"))).toBe("known");
    expect(ask("anna")).toMatchObject({ kind: "known", caller: { name: "user:anna" } });
    await ask("anna", { permission: "a:b" });
    pass(59_999);
    expect(ask("anna")).not.toBeInstanceOf(Promise);
    pass(1);
    await ask("anna");
    expect(asked).toEqual(["anna", "anna a:b", "anna"]);
  });

  test("are asked for once, however many requests bring them at the same time", async () => {
    const kinds = await Promise.all(Array.from({ length: 20 }, () => kindOf(ask("anna"))));
    expect(new Set(kinds)).toEqual(new Set(["known"]));
    expect(asked).toEqual(["anna"]);
  });

  test("hold no longer than their session", async () => {
    answer = async () => ({ caller: callerNamed("user:anna"), endsAtMs: now + 5000 });
    await ask("anna");
    pass(5000);
    await ask("anna");
    expect(asked).toHaveLength(2);
  });

  test("are forgotten when they are revoked, and others are not", async () => {
    await Promise.all([ask("anna"), ask("ben")]);
    cache.revoke(["user:anna"]);
    expect(ask("ben")).toMatchObject({ kind: "known" });
    answer = async () => undefined;
    expect(await kindOf(ask("anna"))).toBe("unknown");
    cache.revokeAll();
    expect(await kindOf(ask("ben"))).toBe("unknown");
  });

  test("are not remembered if they were revoked while they were asked for", async () => {
    const late = Promise.withResolvers<Identified>();
    answer = () => late.promise;
    const asking = ask("anna");
    cache.revoke(["user:anna"]);
    late.resolve({ caller: callerNamed("user:anna"), endsAtMs: 0 });
    await asking;
    answer = async () => undefined;
    expect(await kindOf(ask("anna"))).toBe("unknown");
  });

  test("are 20,000 at most", async () => {
    for (let i = 0; i < 20_050; i++) await ask(`t${i}`);
    expect(cache.size).toBe(20_000);
  });
});

describe("what a connection remembers of its last request", () => {
  /** As the gate does with what a connection shows. */
  function shown(memo: CallerMemo, token: string, permission = "") {
    if (memo.token !== token) Object.assign(memo, { token, known: null });
    return cache.find({ token, permission, isSafe: true, address: "1.1.1.1", memo });
  }
  const onConnection = async () => {
    const memo = new CallerMemo();
    await shown(memo, "anna");
    expect(shown(memo, "anna")).toMatchObject({ kind: "known", caller: { name: "user:anna" } });
    expect(memo.known?.caller.name).toBe("user:anna");
    return memo;
  };

  test("is the same caller, for the same token and permission only", async () => {
    const memo = await onConnection();
    expect(await kindOf(shown(memo, "ben"))).toBe("known");
    expect(shown(memo, "ben")).toMatchObject({ caller: { name: "user:ben" } });
    expect(shown(memo, "anna")).toMatchObject({ caller: { name: "user:anna" } });
    expect(shown(memo, "anna", "a:b")).toBeInstanceOf(Promise);
    expect(await kindOf(shown(memo, "bad"))).toBe("unknown");
  });

  test.each([
    ["the caller is revoked", () => cache.revoke(["user:anna"])],
    ["everything is", () => cache.revokeAll()],
    ["a minute has passed", () => pass(60_000)],
  ])("is forgotten once %s", async (_, happen) => {
    const memo = await onConnection();
    answer = async () => undefined;
    happen();
    expect(await kindOf(shown(memo, "anna"))).toBe("unknown");
  });
});

describe("who is revoked while somebody asks for them", () => {
  test("is asked for anew by whoever comes afterwards, and followers hear of it", async () => {
    const heard: unknown[] = [];
    cache.follow((names) => heard.push(names));
    const late = Promise.withResolvers<Identified>();
    answer = () => late.promise;
    const before = ask("anna");
    cache.revoke(["user:anna"]);
    answer = async () => undefined;
    expect(await kindOf(ask("anna"))).toBe("unknown");
    late.resolve({ caller: callerNamed("user:anna"), endsAtMs: 0 });
    expect(await kindOf(before)).toBe("known");
    cache.revoke([]);
    cache.revokeAll();
    expect(heard).toEqual([["user:anna"], undefined]);
  });

  test("is known with the end of their session", async () => {
    answer = async () => ({ caller: callerNamed("user:anna"), endsAtMs: now + 5000 });
    expect(await ask("anna")).toMatchObject({ endsAtMs: now + 5000 });
  });
});

describe("while what is revoked is not heard", () => {
  test("changes are refused after ten seconds, and what is remembered may read for its minute", async () => {
    await ask("anna");
    now += 10_000;
    expect(await kindOf(ask("anna", { isSafe: false }))).toBe("known");
    now += 1;
    expect(await kindOf(ask("anna", { isSafe: false }))).toBe("unavailable");
    expect(await kindOf(ask("anna"))).toBe("known");
    answer = () => Promise.reject(new Error("away"));
    expect(await kindOf(ask("ben"))).toBe("unavailable");
    now += 50_000;
    expect(await kindOf(ask("anna"))).toBe("unavailable");
    cache.revokeAll();
    answer = async () => ({ caller: callerNamed("user:anna"), endsAtMs: 0 });
    expect(await kindOf(ask("anna", { isSafe: false }))).toBe("known");
  });
});

describe("who guesses", () => {
  test("is let ask a hundred times at once, from one address, and then ten times in a second", async () => {
    const kinds: string[] = [];
    for (let i = 0; i < 120; i++) kinds.push(await kindOf(ask(`bad${i}`)));
    expect(kinds.slice(0, 100)).toEqual(Array(100).fill("unknown"));
    expect(kinds.at(-1)).toBe("too-many");
    expect(await kindOf(ask("bad200", { address: "2.2.2.2" }))).toBe("unknown");
    expect(await kindOf(ask("anna"))).toBe("known");
    pass(1000);
    expect(await kindOf(ask("bad300"))).toBe("unknown");
  });

  test("costs the server one question for the same token, and no more than 256 at a time", async () => {
    await ask("bad");
    await ask("bad");
    expect(asked).toEqual(["bad"]);
    answer = () => new Promise(() => {});
    for (let i = 0; i < 256; i++) void ask(`t${i}`);
    expect(await kindOf(ask("more"))).toBe("unavailable");
  });
});
