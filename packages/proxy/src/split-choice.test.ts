import { describe, expect, it } from "vitest";
import { RequestDealer, SplitChoice, type SplitFacts } from "./split-choice.ts";
import type { SplitTerms } from "./split-terms.ts";

function choice(terms: Partial<SplitTerms> = {}, scope = "default/svc"): SplitChoice {
  const all: SplitTerms = { revision: 2, share: 0, matches: [], sticky: null, ...terms };
  return new SplitChoice(all, { scope, dealer: new RequestDealer(0.4) });
}

function facts(own: Partial<SplitFacts> = {}): SplitFacts {
  return { rawHeaders: [], address: "127.0.0.1", forwardedFor: "", trustsOrigin: false, ...own };
}

const cookie = (text: string) => facts({ rawHeaders: ["Cookie", text] });
const byCookie = { by: "cookie", name: "sid" } as const;

/** Which of these clients the tried revision gets. */
function chosen(terms: Partial<SplitTerms>, clients: readonly string[]): Set<string> {
  const made = choice({ sticky: byCookie, ...terms });
  return new Set(clients.filter((id) => made.isTried(cookie(`sid=${id}`))));
}

const CLIENTS = Array.from({ length: 20_000 }, (_, index) => `client-${index}`);

describe("a share without a sticky key", () => {
  it.each([1, 100, 500, 3_333, 9_999])("of %i in 10,000 is kept within two requests, wherever one begins", (share) => {
    const made = choice({ share });
    for (let begun = 0; begun < 5; begun++) {
      const count = 3_000 + begun * 777;
      let tried = 0;
      for (let i = 0; i < count; i++) if (made.isTried(facts())) tried++;
      expect(Math.abs(tried - (count * share) / 10_000)).toBeLessThanOrEqual(2);
    }
  });

  it("is kept for every other request and every tenth one, too", () => {
    for (const step of [2, 3, 7, 10]) {
      const made = choice({ share: 1_000 });
      let tried = 0;
      for (let i = 0; i < 10_000 * step; i++) if (made.isTried(facts()) && i % step === 0) tried++;
      expect(Math.abs(tried - 1_000)).toBeLessThanOrEqual(20);
    }
  });

  it("of nothing and of everything is exact", () => {
    const [none, all] = [choice({ share: 0 }), choice({ share: 10_000 })];
    for (let i = 0; i < 1_000; i++) expect([none.isTried(facts()), all.isTried(facts())]).toEqual([false, true]);
  });
});

describe("clients that are known again", () => {
  it.each([100, 1_000, 5_000])("are divided as a share of %i says, within what chance allows", (share) => {
    const expected = (CLIENTS.length * share) / 10_000;
    const deviation = Math.sqrt(expected * (1 - share / 10_000));
    expect(Math.abs(chosen({ share }, CLIENTS).size - expected)).toBeLessThanOrEqual(4 * deviation);
  });

  it("stay with the tried revision as its share grows", () => {
    let before = new Set<string>();
    for (const share of [1, 10, 100, 500, 2_500, 5_000, 9_999, 10_000]) {
      const now = chosen({ share }, CLIENTS);
      expect([...before].filter((id) => !now.has(id))).toEqual([]);
      before = now;
    }
    expect(before.size).toBe(CLIENTS.length);
  });

  it("are others for the next revision, and for another service", () => {
    const share = 1_000;
    const [first, next] = [chosen({ share }, CLIENTS), chosen({ share, revision: 3 }, CLIENTS)];
    const other = choice({ share, sticky: byCookie }, "default/other");
    const shared = (set: ReadonlySet<string>) => [...first].filter((id) => set.has(id)).length / first.size;
    expect(shared(next)).toBeLessThan(0.15);
    expect(shared(new Set(CLIENTS.filter((id) => other.isTried(cookie(`sid=${id}`)))))).toBeLessThan(0.15);
  });

  it("get the same answer each time", () => {
    const made = choice({ share: 5_000, sticky: { by: "header", name: "x-user" } });
    for (const id of CLIENTS.slice(0, 200)) {
      const answers = Array.from({ length: 5 }, () => made.isTried(facts({ rawHeaders: ["X-User", id] })));
      expect(new Set(answers).size).toBe(1);
    }
  });

  it("are known by their address where they bring no cookie, all of an IPv6 network together", () => {
    const made = choice({ share: 5_000, sticky: byCookie });
    const answerOf = (own: Partial<SplitFacts>) => made.isTried(facts(own));
    for (let i = 0; i < 100; i++) {
      const address = `2001:db8:0:${i.toString(16)}::`;
      const answers = [`${address}1`, `${address}2`].map((each) => answerOf({ address: each }));
      const empty = answerOf({ address: `${address}3`, rawHeaders: ["cookie", "other=1; sid=; more"] });
      expect(new Set([...answers, empty]).size).toBe(1);
    }
    const byNetwork = Array.from({ length: 400 }, (_, i) => answerOf({ address: `10.0.${i >> 8}.${i & 255}` }));
    expect(byNetwork.filter(Boolean).length / 400).toBeCloseTo(0.5, 0.2);
  });

  it("are in the mesh what x-forwarded-for names first; without it, each request is decided for itself", () => {
    const made = choice({ share: 5_000, sticky: { by: "address" } });
    const mesh = (forwardedFor: string) => made.isTried(facts({ trustsOrigin: true, forwardedFor }));
    const gateway = (address: string) => made.isTried(facts({ address }));
    for (let i = 0; i < 100; i++) expect(mesh(`10.0.0.${i}, 10.9.9.9`)).toBe(gateway(`10.0.0.${i}`));
    expect(new Set(Array.from({ length: 20 }, () => mesh(""))).size).toBe(2);
    expect(new Set(Array.from({ length: 20 }, () => gateway("127.0.0.1"))).size).toBe(1);
  });
});

describe("a match", () => {
  const matches = [
    { in: "header", name: "x-hms-revision", value: "2" },
    { in: "cookie", name: "beta", value: "" },
    { in: "cookie", name: "Group", value: "b c" },
  ] as const;

  it.each<[string, string[]]>([
    ["a field of that value", ["X-HMS-Revision", "2"]],
    ["the second of two such fields", ["x-hms-revision", "1", "x-hms-revision", "2"]],
    ["a cookie that is there", ["cookie", "a=1; beta=; c=2"]],
    ["a cookie of the second field", ["cookie", "a=1", "Cookie", "beta=yes"]],
    ["a cookie of that value in quotes", ["cookie", 'Group="b c"']],
  ])("takes %s, whatever the share", (_, rawHeaders) => {
    expect(choice({ matches }).isTried(facts({ rawHeaders }))).toBe(true);
  });

  it.each<[string, string[]]>([
    ["another value", ["x-hms-revision", "3"]],
    ["a longer value", ["x-hms-revision", "22"]],
    ["a cookie whose name only begins so", ["cookie", "beta2=1; xbeta=1; x=beta=1"]],
    ["a cookie in other letters", ["cookie", "group=b c; BETA=1"]],
    ["a name without a value", ["cookie", "beta; ;=; ="]],
    ["nothing", []],
  ])("does not take %s", (_, rawHeaders) => {
    expect(choice({ matches }).isTried(facts({ rawHeaders }))).toBe(false);
  });
});
