import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { policy } from "@hms/contracts";
import { type CallContext, implement, type ServiceRegistration } from "@hms/kernel";
import { type AccessRule, explainVerdict, type PolicyBook } from "@hms/authorization";
import type { StoredRule } from "./access-store.ts";
import type { PolicyKeeper } from "./policy-keeper.ts";
import { readPolicy, readQuestion } from "./policy-request.ts";

/** What the handlers stand on. */
export interface PolicyParts {
  book: PolicyBook;
  keeper: PolicyKeeper;
  /** Tries again while PostgreSQL is away, until the call's deadline. */
  patiently: <T>(context: CallContext, work: () => Promise<T>) => Promise<T>;
}

function messageOf({ id, ...rule }: AccessRule, changedAt: Date | undefined) {
  const { allowedRoles, deniedRoles, ...rest } = rule;
  return {
    ...rest,
    policyId: id,
    allowedRoles: [...allowedRoles],
    deniedRoles: [...deniedRoles],
    fromFile: changedAt === undefined,
    ...(changedAt === undefined ? {} : { changedAt: timestampFromDate(changedAt) }),
  };
}

/** The methods of hms.ffi.v1's PolicyService over their parts. */
export function policyRegistration({ book, keeper, patiently }: PolicyParts): ServiceRegistration {
  const answer = ({ rule, changedAt }: StoredRule) => messageOf(rule, changedAt);
  return implement(policy.PolicyService, {
    async listPolicies(_request, context) {
      const rules = await patiently(context, async () => book.current.rules);
      return { policies: rules.map((rule) => messageOf(rule, keeper.changedAt(rule.id))) };
    },

    async putPolicy(request, context) {
      const rule = readPolicy(request.policy);
      return { policy: answer(await patiently(context, () => keeper.put(rule))) };
    },

    async deletePolicy({ policyId }, context) {
      await patiently(context, () => keeper.delete(policyId));
      return {};
    },

    async explainAccess(request, context) {
      const { subject, target, isOperator } = readQuestion(request);
      const verdict = await patiently(context, async () => book.current.judge(subject, target));
      const { auditLevel } = verdict;
      if (isOperator) return { allowed: true, reason: "The operator may call everything.", policyIds: [], auditLevel };
      return {
        allowed: verdict.allowed,
        reason: explainVerdict(verdict, subject, target),
        policyIds: verdict.rules.map(({ id }) => id),
        auditLevel,
      };
    },
  });
}
