export { createAccessPolicy, subjectOf } from "./access-policy.ts";
export { type AccessRule, emptyRuleProblem, ruleChecks } from "./access-rule.ts";
export type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
export { explainVerdict } from "./explain-access.ts";
export { patternTest } from "./name-pattern.ts";
export { parsePolicies } from "./parse-policies.ts";
export { PolicyBook, type PolicyOrigin } from "./policy-book.ts";
export { openPolicyFile } from "./policy-file.ts";
export { PolicySet } from "./policy-set.ts";
