import type { Principal, ResourceRow } from "@hms/kernel";
import { type AccessRule, PolicyBook } from "../index.ts";

/** The permission that random policies are about. */
export const READ = "services:read";

const HEADS = [
  "resource",
  'resource in Environment::"prod"',
  'resource in Group::"pay"',
  'resource == Resource::"services/dev/a"',
  'resource == Resource::"services/b"',
];
const WHO = ["principal", 'principal in Role::"a"', 'principal == User::"anna"', 'principal in Group::"g"'];
const CONDITIONS = [
  "resource has owner && resource.owner == principal.name",
  '!(resource has owner) || resource.owner == "user:bob"',
  'resource.tags.contains("public")',
  'resource.name like "a*"',
  'resource.name != "b"',
  'context.environment == "dev"',
  'context has environment && context.environment == "dev"',
  '!(context has environment) && resource.name == "ab"',
  "!(resource has environment)",
  'resource has environment && resource.environment == "dev" && context.mfa',
  'resource.tags.containsAny(["x", "public"])',
  'resource.owner == "user:bob"',
  'if context.mfa then resource.name == "a" else resource.tags.contains("x")',
  'resource.name == "a\' or true --" || resource.name == "ab"',
  '!(resource.tags.contains("x") || resource.owner == "user:anna")',
  'context.transport == "network" && resource.name == "a"',
];

/** Things as they can be: with and without an owner, tags, groups and an environment. */
export const ROWS: readonly ResourceRow[] = ["a", "ab", "b", "a' or true --"].flatMap((name) =>
  ["dev", "prod", undefined].flatMap((environment) =>
    [{}, { owner: "user:anna", tags: ["public"] }, { owner: "user:bob", tags: ["x"], groups: ["pay"] }].map(
      (facts) => ({ name, environment, facts }),
    ),
  ),
);

/** Makes policies and people, always the same for a seed. */
export class RandomPolicies {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  #below(bound: number): number {
    this.#state = (this.#state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((this.#state / 2_147_483_648) * bound);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  #policy(index: number): AccessRule {
    const effect = this.#below(3) === 0 ? "forbid" : "permit";
    const when = this.#below(4) === 0 ? "" : ` when { ${this.#pick(CONDITIONS)} }`;
    const unless = this.#below(4) === 0 ? ` unless { ${this.#pick(CONDITIONS)} }` : "";
    const head = `${this.#pick(WHO)}, action == Action::"${READ}", ${this.#pick(HEADS)}`;
    const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false };
    const cedar = `${effect} (${head})${when}${unless};`;
    return { ...plain, id: `p${index}`, auditLevel: 0, environment: "", cedar };
  }

  /** One to four policies in force. */
  book(): PolicyBook {
    const book = new PolicyBook();
    book.replace("file", []);
    book.replace(
      "stored",
      Array.from({ length: 1 + this.#below(4) }, (_, index) => this.#policy(index)),
    );
    return book;
  }

  /** Somebody. */
  principal(): Principal {
    const environment = this.#below(4) === 0 ? { environment: "dev" } : {};
    return {
      kind: "user",
      id: this.#pick(["anna", "bob"]),
      roles: this.#pick([[], ["a"]]),
      mfa: this.#below(2) === 0,
      ...environment,
    };
  }

  /** How a call comes in. */
  transport(): "socket" | "network" {
    return this.#pick(["socket", "network"]);
  }
}
