import { expect, test } from "vitest";
import { deployOrder } from "./deploy-order.ts";

/** "c needs a, b" as c:a,b. */
const services = (...texts: string[]) =>
  texts.map((text) => {
    const [name = "", needs = ""] = text.split(":");
    return { name, needs: needs === "" ? [] : needs.split(","), file: `${name}.hms.yml` };
  });
const order = (...texts: string[]) =>
  deployOrder(services(...texts))
    .map(({ name }) => name)
    .join(" ");

test.each([
  [["a"], "a"],
  [["b", "a"], "b a"],
  [["web:api", "api:db", "db"], "db api web"],
  [["web:api,auth", "api", "auth:api"], "api auth web"],
  [["web:elsewhere", "api"], "web api"],
])("%j is deployed as %s", (given, expected) => {
  expect(order(...given)).toBe(expected);
});

test("services that need each other are refused with the way around", () => {
  expect(() => order("x:a", "a:b", "b:c", "c:a")).toThrow("in a circle: a → b → c → a");
});

test("a name that two manifests have is refused with both files", () => {
  expect(() => order("a", "b", "a", "b")).toThrow(/a \(a.hms.yml and a.hms.yml\), b/);
});

test("whatever the needs are, each comes after those it needs, or all are refused", () => {
  let seed = 3;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  let sorted = 0;
  for (let round = 0; round < 500; round += 1) {
    const count = 1 + random(8);
    const all = Array.from({ length: count }, (_, index) => ({
      name: `s${index}`,
      file: "",
      needs: Array.from({ length: random(3) }, () => `s${random(count)}`).filter((need) => need !== `s${index}`),
    }));
    try {
      const names = deployOrder(all).map(({ name }) => name);
      expect(names.toSorted()).toEqual(all.map(({ name }) => name).toSorted());
      for (const { name, needs } of all) {
        for (const need of needs) expect(names.indexOf(need)).toBeLessThan(names.indexOf(name));
      }
      sorted += 1;
    } catch (error) {
      expect(String(error)).toMatch(/in a circle: (s\d+) → .*\1\./);
    }
  }
  expect(sorted).toBeGreaterThan(100);
});
