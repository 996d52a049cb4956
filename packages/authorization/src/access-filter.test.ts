import type { MethodEntry, ResourcePredicate, ResourceRow } from "@hms/kernel";
import { expect, test } from "vitest";
import { createAccessPolicy } from "./index.ts";
import { RandomPolicies, READ, ROWS } from "./testing/random-policies.ts";

/** Whether a database would keep a row; what cannot be told it keeps. */
function keeps(predicate: ResourcePredicate, row: ResourceRow, untold = true): boolean {
  const { owner = "", tags = [], groups = [] } = row.facts ?? {};
  const values = { ...row, owner, environment: row.environment ?? "" };
  if ("all" in predicate) return predicate.all.every((part) => keeps(part, row, untold));
  if ("any" in predicate) return predicate.any.some((part) => keeps(part, row, untold));
  if ("not" in predicate) return !keeps(predicate.not, row, !untold);
  if ("field" in predicate) return values[predicate.field] === predicate.equals;
  if ("has" in predicate) return values[predicate.has] !== "";
  if ("tag" in predicate) return tags.includes(predicate.tag);
  if ("group" in predicate) return groups.includes(predicate.group);
  return untold;
}

const method = { name: "test", rule: { permission: READ } } as unknown as MethodEntry;

test("whatever policies say, a filter loses no row that a decision about that row allows, and lets no other through", () => {
  const random = new RandomPolicies(7);
  const seen = { allowed: 0, denied: 0 };
  for (let round = 0; round < 30; round++) {
    const book = random.book();
    const [principal, transport] = [random.principal(), random.transport()];
    const policy = createAccessPolicy(book, {
      // Asked about one thing, a policy knows of it what the row says.
      factsOf: (_, name, environment) => rowOf(name, environment).facts,
    });
    let current = ROWS[0] as ResourceRow;
    const rowOf = (_name: string, _environment: string | undefined) => current;
    const filter = policy.filter?.({ principal, permission: READ, method, transport });
    for (const row of ROWS) {
      current = row;
      const { name, environment } = row;
      const question = { principal, permission: READ, resource: name, environment, method, transport };
      const { allowed } = policy.decide(question) as { allowed: boolean };
      seen[allowed ? "allowed" : "denied"] += 1;
      expect(filter?.allows(row)).toBe(allowed);
      const predicate = environment === undefined ? filter?.whereUnplaced : filter?.where;
      if (allowed && predicate) expect(keeps(predicate, row), JSON.stringify([predicate, row])).toBe(true);
    }
  }
  // Neither answer is what is always given.
  expect(Math.min(seen.allowed, seen.denied)).toBeGreaterThan(50);
});
