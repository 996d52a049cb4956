import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type AccessRule,
  allowingChanges,
  type CompiledPolicy,
  explainVerdict,
  judgeQuestion,
  type PolicyBook,
} from "@hms/authorization";
import { policy } from "@hms/contracts";
import { type CallContext, implement, type ServiceRegistration, spokenName } from "@hms/kernel";
import type { StoredRule } from "./access-store.ts";
import { withKnownUsers } from "./known-users.ts";
import type { PolicyKeeper } from "./policy-keeper.ts";
import { type AccessQuestion, type KnownPrincipals, readPolicy, readQuestion } from "./policy-request.ts";

/** What the handlers stand on. */
export interface PolicyParts {
  book: PolicyBook;
  keeper: PolicyKeeper;
  /** Whom questions and policies are about; undefined: nobody is known. */
  known: KnownPrincipals | undefined;
  /** Tries again while PostgreSQL is away, until the call's deadline. */
  patiently: <T>(context: CallContext, work: () => Promise<T>) => Promise<T>;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
}

function messageOf({ id, ...rule }: AccessRule, changedAt: Date | undefined) {
  const { allowedRoles, deniedRoles, mfaMaxAgeS, tests = [], ...rest } = rule;
  return {
    ...rest,
    ...(mfaMaxAgeS === undefined ? {} : { mfaMaxAge: durationFromMs(mfaMaxAgeS * 1000) }),
    policyId: id,
    allowedRoles: [...allowedRoles],
    deniedRoles: [...deniedRoles],
    tests: tests.map(({ roles, ...test }) => ({ ...test, roles: [...roles] })),
    fromFile: changedAt === undefined,
    ...(changedAt === undefined ? {} : { changedAt: timestampFromDate(changedAt) }),
  };
}

function decidingOf({ id, effect, text, rule }: CompiledPolicy, changedAt: Date | undefined) {
  return {
    policyId: rule?.id ?? id,
    cedar: text,
    forbids: effect === "forbid",
    description: rule?.description ?? "",
    author: rule?.author ?? "",
    ...(changedAt === undefined ? {} : { changedAt: timestampFromDate(changedAt) }),
  };
}

/** Answers why somebody may or may not, by the engine that decides calls. */
function explain({ book, keeper }: PolicyParts, { subject, target }: AccessQuestion) {
  const set = book.current;
  const verdict = judgeQuestion(book, set, { subject, target });
  const { allowed, auditLevel, policies } = verdict;
  const roles = [...subject.roles];
  if (subject.kind === "operator") {
    return { allowed, reason: "The operator may call everything.", policyIds: [], auditLevel, roles };
  }
  return {
    allowed,
    reason: explainVerdict(verdict, subject, target),
    policyIds: [...new Set(policies.map(({ id, rule }) => rule?.id ?? id))],
    auditLevel,
    policies: policies.map((policy) => decidingOf(policy, keeper.changedAt(policy.rule?.id ?? ""))),
    changes: allowed ? [] : allowingChanges(book, set, { subject, target }),
    roles,
  };
}

/** The methods of hms.ffi.v1's PolicyService over their parts. */
export function policyRegistration(parts: PolicyParts): ServiceRegistration {
  const { book, keeper, known, patiently, untilEnd } = parts;
  const answer = ({ rule, changedAt }: StoredRule) => messageOf(rule, changedAt);
  return implement(policy.PolicyService, {
    async listPolicies(_request, context) {
      const rules = await patiently(context, async () => book.current.rules);
      const filter = context.filter();
      const visible = rules.filter(({ id: name, environment }) => filter.allows({ name, environment }));
      return { policies: visible.map((rule) => messageOf(rule, keeper.changedAt(rule.id))) };
    },

    async putPolicy(request, context) {
      const read = readPolicy(request.policy, spokenName(context.principal));
      const rule = await patiently(context, () => withKnownUsers(read, known));
      return { policy: answer(await patiently(context, () => keeper.put(rule))) };
    },

    async deletePolicy({ policyId }, context) {
      await patiently(context, () => keeper.delete(policyId));
      return {};
    },

    async *watchPolicies(_request, context) {
      for await (const stored of keeper.watch(untilEnd(context))) yield { policies: stored.map(answer) };
    },

    async explainAccess(request, context) {
      const question = await readQuestion(request, known ?? (() => undefined));
      return patiently(context, async () => explain(parts, question));
    },
  });
}
