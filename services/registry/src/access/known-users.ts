import type { AccessRule } from "@hms/authorization";
import type { FieldViolation } from "@hms/kernel";
import { invalid } from "../errors.ts";
import type { KnownPrincipals } from "./policy-request.ts";

/** Comments and texts, in which nothing means anybody, and then people and programs by name. */
const PARTS = /\/\/[^\n]*|(\bUser\s*::\s*)"((?:[^"\\]|\\.)*)"|"(?:[^"\\]|\\.)*"/g;

/**
 * A policy whose people are named as calls name them: `User::"anna"` becomes the account that has this login now, also in
 * its tests, because logins can be given to others and accounts cannot.
 * @throws HmsError INVALID_ARGUMENT if nobody has a name that it speaks of.
 */
export async function withKnownUsers(rule: AccessRule, known: KnownPrincipals | undefined): Promise<AccessRule> {
  if (known === undefined) return rule;
  const { cedar = "", tests = [] } = rule;
  const violations: FieldViolation[] = [];
  const idOf = async (field: string, name: string): Promise<string> => {
    const principal = await known(`user:${name}`);
    if (principal !== undefined) return principal.id;
    const description = `speaks of User::"${name}", and nobody who may come in has this name. Look at: hms-sys users list.`;
    violations.push({ field, description });
    return name;
  };
  const ids = new Map<string, string>();
  for (const [, head, name = ""] of cedar.matchAll(PARTS)) {
    if (head !== undefined && !ids.has(name)) ids.set(name, await idOf("policy.cedar", name));
  }
  const resolved = cedar.replace(PARTS, (whole, head: string | undefined, name: string) =>
    head === undefined ? whole : `${head}${JSON.stringify(ids.get(name))}`,
  );
  const ofTests = tests.map(async (test) => {
    const login = /^user:(.+)$/.exec(test.principal)?.[1];
    // A test may be about somebody who does not exist.
    const principal = login === undefined ? undefined : await known(test.principal);
    return principal === undefined ? test : { ...test, principal: `user:${principal.id}` };
  });
  const done = { ...rule, ...(rule.cedar === undefined ? {} : { cedar: resolved }), tests: await Promise.all(ofTests) };
  if (violations.length > 0) throw invalid("The policy", violations);
  return done;
}
