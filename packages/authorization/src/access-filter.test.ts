import type { MethodEntry, Principal, ResourcePredicate, ResourceRow } from "@hms/kernel";
import { expect, test } from "vitest";
import { type AccessRule, createAccessPolicy, PolicyBook } from "./index.ts";

let state = 7;
function random(below: number): number {
  state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
  return Math.floor((state / 2_147_483_648) * below);
}
const pick = <T>(values: readonly T[]) => values[random(values.length)] as T;

const HEADS = ["resource", 'resource in Environment::"prod"', 'resource in Group::"pay"'];
const WHO = ["principal", 'principal in Role::"a"', 'principal == User::"anna"', 'principal in Group::"g"'];
const CONDITIONS = [
  "resource has owner && resource.owner == principal.name",
  '!(resource has owner) || resource.owner == "user:bob"',
  'resource.tags.contains("public")',
  'resource.name like "a*"',
  'resource.name != "b"',
  'context.environment == "dev"',
  'resource has environment && resource.environment == "dev" && context.mfa',
  'resource.tags.containsAny(["x", "public"])',
  'resource.owner == "user:bob"',
  'if context.mfa then resource.name == "a" else resource.tags.contains("x")',
];

function randomPolicy(index: number): AccessRule {
  const effect = random(3) === 0 ? "forbid" : "permit";
  const when = random(4) === 0 ? "" : ` when { ${pick(CONDITIONS)} }`;
  const unless = random(4) === 0 ? ` unless { ${pick(CONDITIONS)} }` : "";
  const cedar = `${effect} (${pick(WHO)}, action == Action::"services:read", ${pick(HEADS)})${when}${unless};`;
  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false };
  return { ...plain, id: `p${index}`, auditLevel: 0, environment: "", cedar };
}

const ROWS: ResourceRow[] = ["a", "ab", "b"].flatMap((name) =>
  ["dev", "prod"].flatMap((environment) =>
    [{}, { owner: "user:anna", tags: ["public"] }, { owner: "user:bob", tags: ["x"], groups: ["pay"] }].map(
      (facts) => ({ name, environment, facts }),
    ),
  ),
);

/** Whether a database would keep a row; what cannot be told it keeps. */
function keeps(predicate: ResourcePredicate, row: ResourceRow, untold = true): boolean {
  const { owner = "", tags = [], groups = [] } = row.facts ?? {};
  const values = { ...row, owner };
  if ("all" in predicate) return predicate.all.every((part) => keeps(part, row, untold));
  if ("any" in predicate) return predicate.any.some((part) => keeps(part, row, untold));
  if ("not" in predicate) return !keeps(predicate.not, row, !untold);
  if ("field" in predicate) return values[predicate.field] === predicate.equals;
  if ("has" in predicate) return values[predicate.has] !== "";
  if ("tag" in predicate) return tags.includes(predicate.tag);
  if ("group" in predicate) return groups.includes(predicate.group);
  return untold;
}

const method = { rule: { permission: "services:read" } } as unknown as MethodEntry;

test("whatever policies say, a filter loses no row that a decision about that row allows, and lets no other through", () => {
  for (let round = 0; round < 80; round++) {
    const book = new PolicyBook();
    book.replace("file", []);
    book.replace(
      "stored",
      Array.from({ length: 1 + random(4) }, (_, index) => randomPolicy(index)),
    );
    const principal: Principal = {
      kind: "user",
      id: pick(["anna", "bob"]),
      roles: pick([[], ["a"]]),
      mfa: random(2) === 0,
    };
    const policy = createAccessPolicy(book);
    const filter = policy.filter?.({ principal, permission: "services:read", method });
    for (const row of ROWS) {
      const subject = {
        kind: "user" as const,
        id: principal.id,
        roles: principal.roles ?? [],
        mfa: principal.mfa === true,
        known: true,
      };
      const { name, environment } = row;
      const target = {
        permission: "services:read",
        resource: { kind: "services", name, environment },
        facts: row.facts,
      };
      const { allowed } = book.current.judgeResource(subject, target);
      expect(filter?.allows(row)).toBe(allowed);
      if (allowed && filter) expect(keeps(filter.where, row), JSON.stringify(filter.where)).toBe(true);
      if (allowed) expect(filter?.scope).not.toBe("none");
    }
  }
});
