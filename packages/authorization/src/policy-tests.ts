import { type FieldViolation, HmsError } from "@hms/kernel";
import { judgeQuestion, subjectOfQuestion, targetNamed } from "./access-question.ts";
import type { AccessRule, PolicyTest } from "./access-rule.ts";
import { explainVerdict } from "./explain-access.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { PolicySet } from "./policy-set.ts";

type Components = Pick<PolicyBook, "components">;

function problemOf(book: Components, set: PolicySet, test: PolicyTest): string | undefined {
  const question = { ...test, environment: test.environment || "default" };
  const subject = subjectOfQuestion(question);
  const target = targetNamed(question);
  const verdict = judgeQuestion(book, set, { subject, target });
  if (verdict.allowed === test.expectAllowed) return undefined;
  const asked = `${test.principal} ${test.action} ${test.resource}`.trim();
  const wish = test.expectAllowed ? "allowed" : "denied";
  return `${asked} was to be ${wish}. ${explainVerdict(verdict, subject, target)}`;
}

function violationsOf(book: Components, set: PolicySet, { id, tests = [] }: AccessRule): FieldViolation[] {
  return tests.flatMap((test, index) => {
    const problem = problemOf(book, set, test);
    return problem === undefined ? [] : [{ field: `${id}.tests[${index}]`, description: problem }];
  });
}

/**
 * Tries every expectation that policies carry against all of them together.
 * @throws HmsError FAILED_PRECONDITION, reason POLICY_TESTS_FAILED, with every one that is not met
 */
export function checkPolicyTests(book: Components, set: PolicySet): void {
  const fieldViolations = set.rules.flatMap((rule) => violationsOf(book, set, rule));
  if (fieldViolations.length === 0) return;
  const all = fieldViolations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  throw new HmsError("FAILED_PRECONDITION", `Expectations of policies would not be met; nothing was changed. ${all}`, {
    reason: "POLICY_TESTS_FAILED",
    fieldViolations,
  });
}
