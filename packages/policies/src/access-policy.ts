import { ffiOptions } from "@hms/contracts";
import { livesElsewhere, type MethodEntry, type Policy, type PolicyDecision, type Principal } from "@hms/kernel";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
import type { MethodSlice } from "./method-slice.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { PolicySet } from "./policy-set.ts";

/** A principal as policies see it. */
export function subjectOf({ kind, roles = [], mfa = false }: Principal): AccessSubject {
  return { roles, mfa, known: kind !== "anonymous" };
}

/** The method of an entry as policies name it. */
function targetOf({ environment = "", desc, rule }: MethodEntry): AccessTarget {
  const serviceId = rule.resource || desc.parent.file.proto.package.replace(/\.v\d+$/, "");
  return { environment, serviceId, method: desc.name };
}

const REASONS = {
  denied: "a policy denies it to one of the caller's roles",
  mfa: "a policy demands that the caller has signed in with a second factor",
  default: "no policy allows it to any of the caller's roles; the operator sees why with hms-sys ffi policy",
};

const ELSEWHERE: PolicyDecision = Object.freeze({
  allowed: false,
  reason: "the caller lives in another environment, and calls only there",
});

function decisionOf({ because, auditLevel }: Pick<AccessVerdict, "because" | "auditLevel">): PolicyDecision {
  if (because !== "allowed") return { allowed: false, reason: REASONS[because] };
  return auditLevel === ffiOptions.AuditLevel.UNSPECIFIED ? { allowed: true } : { allowed: true, auditLevel };
}

/** Decisions are made once for each principal and method while a set is in force. */
class Decisions {
  readonly set: PolicySet;
  readonly #slices = new WeakMap<MethodEntry, MethodSlice>();
  readonly #made = new WeakMap<Principal, WeakMap<MethodEntry, PolicyDecision>>();

  constructor(set: PolicySet) {
    this.set = set;
  }

  decide(principal: Principal, method: MethodEntry): PolicyDecision {
    if (method.environment !== undefined && livesElsewhere(principal, method.environment)) return ELSEWHERE;
    const known = this.#made.get(principal)?.get(method);
    if (known !== undefined) return known;
    const slice = this.#sliceOf(method);
    const { auditLevel } = slice;
    const isOperator = principal.kind === "operator";
    const decision = decisionOf(isOperator ? { because: "allowed", auditLevel } : slice.judge(subjectOf(principal)));
    const own = this.#made.get(principal) ?? new WeakMap<MethodEntry, PolicyDecision>();
    this.#made.set(principal, own.set(method, decision));
    return decision;
  }

  #sliceOf(method: MethodEntry): MethodSlice {
    const slice = this.#slices.get(method) ?? this.set.slice(targetOf(method));
    this.#slices.set(method, slice);
    return slice;
  }
}

/** Decides calls of users' methods by the policies in force; the operator may call everything. */
export function createAccessPolicy(book: PolicyBook): Policy {
  let decisions: Decisions | undefined;
  return {
    decide({ principal, method }) {
      const set = book.current;
      if (decisions?.set !== set) decisions = new Decisions(set);
      return decisions.decide(principal, method);
    },
  };
}
