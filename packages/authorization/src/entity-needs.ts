import type { CompiledPolicy } from "./compiled-policy.ts";

/** What policies can look at of who asks, of what is asked about and how: whatever else a question says costs for nothing. */
export interface EntityNeeds {
  /** Attributes, and types of what they are in. */
  readonly principal: ReadonlySet<string>;
  readonly resource: ReadonlySet<string>;
  /** Members of the context. */
  readonly context: ReadonlySet<string>;
  /** Groups of permissions: "services:*". */
  readonly groups: ReadonlySet<string>;
}

/** Undefined: it cannot be read off their texts, so it may be anything. */
type Needs = EntityNeeds | undefined;

const VARIABLE = /\b(principal|resource|context)\b/g;
/** Where an entity by its name is looked into, or only compared with. */
const LITERAL_LOOKED_INTO = /::\s*"[^"]*"\s*(?:\.|\[|has\b|in\b)/;
const GROUP = /"([^"]*:\*)"/g;

/** What may follow a variable, and in it the names of what that looks at. Whatever is not here may look at anything. */
const USES: readonly (readonly [RegExp, RegExp?])[] = [
  // The head of a policy.
  [/^\s*(?:,\s*action\b|\)\s*(?:when\b|unless\b|;))/],
  [/^\s*(?:==|!=)\s*[A-Za-z]+\s*::\s*"/],
  [/^\s*is\s+[A-Za-z]+\s*(?:,\s*action\b|\)\s*(?:when\b|unless\b|;)|[}&|])/],
  [/^\s*\.\s*[a-z_]+\b/, /[a-z_]+/g],
  [/^\s*has\s+[a-z_]+\b(?!\s*\.)/, /(?<=has\s+)[a-z_]+/g],
  [/^\s*in\s+[A-Za-z]+\s*::\s*"/, /[A-Za-z]+(?=\s*::)/g],
  [/^\s*in\s+\[(?:\s*[A-Za-z]+\s*::\s*"[^"]*"\s*,?)*\s*\]/, /[A-Za-z]+(?=\s*::\s*")/g],
];
const LONGEST_USE = 4000;

const known = new WeakMap<CompiledPolicy, { readonly needs: Needs }>();

function needsOf(policy: CompiledPolicy): Needs {
  const before = known.get(policy);
  if (before !== undefined) return before.needs;
  const needs = readNeeds(policy.text);
  known.set(policy, { needs });
  return needs;
}

function readNeeds(text: string): Needs {
  if (text.includes("\\") || text.includes("//") || LITERAL_LOOKED_INTO.test(text)) return undefined;
  const found = { principal: new Set<string>(), resource: new Set<string>(), context: new Set<string>() };
  for (const { 0: variable, index } of text.matchAll(VARIABLE)) {
    const names = namesIn(text.slice(index + variable.length, index + variable.length + LONGEST_USE));
    if (names === undefined) return undefined;
    for (const name of names) found[variable as keyof typeof found].add(name);
  }
  return { ...found, groups: new Set([...text.matchAll(GROUP)].map(([, group = ""]) => group)) };
}

/** What the text behind a variable looks at; undefined if that cannot be told. */
function namesIn(rest: string): string[] | undefined {
  for (const [pattern, names] of USES) {
    const [use] = pattern.exec(rest) ?? [];
    if (use !== undefined) return names === undefined ? [] : [...use.matchAll(names)].map(([name]) => name);
  }
  return undefined;
}

const PARTS = ["principal", "resource", "context", "groups"] as const;

/** What some policies look at together. */
export function entityNeeds(policies: readonly CompiledPolicy[]): Needs {
  const all = {
    principal: new Set<string>(),
    resource: new Set<string>(),
    context: new Set<string>(),
    groups: new Set<string>(),
  };
  for (const policy of policies) {
    const needs = needsOf(policy);
    if (needs === undefined) return undefined;
    for (const key of PARTS) for (const each of needs[key]) all[key].add(each);
  }
  return all;
}
