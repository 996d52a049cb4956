import { ffiOptions } from "@hms/contracts";
import {
  everyResource,
  type FilterQuestion,
  type MethodEntry,
  type Policy,
  type PolicyDecision,
  type PolicyQuestion,
  type Principal,
  type ResourceFilter,
  type StepUp,
} from "@hms/kernel";
import { filterOf } from "./access-filter.ts";
import { subjectOf } from "./access-subject.ts";
import type { AccessTarget, AccessVerdict } from "./access-verdict.ts";
import { type AccessRequest, CALL_PERMISSION, methodEntity, type ResourceFacts, resourceEntity } from "./entities.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { PolicySet } from "./policy-set.ts";
import type { PolicySlice } from "./policy-slice.ts";

/** The method of an entry as policies name it. */
function targetOf({ environment = "", desc, rule }: MethodEntry): AccessTarget {
  const serviceId = rule.resource || desc.parent.file.proto.package.replace(/\.v\d+$/, "");
  return { environment, serviceId, method: desc.name };
}

const REASONS = {
  denied: "a policy denies it to one of the caller's roles",
  mfa: "a policy demands that the caller has signed in with a second factor: set one up under /sign-in/factors, at the address that hms-sys up prints, then sign in again (hms-sys logout, hms-sys login); API keys never count as one",
  "mfa-age":
    "a policy demands a second factor that was shown more lately: show it again under /sign-in/again, at the address that hms-sys up prints; the command line then signs in anew, too (hms-sys logout, hms-sys login)",
  default: "no policy allows it to any of the caller's roles; the operator sees why with hms-sys ffi policy",
  error: "a policy about it cannot be evaluated; the operator sees which with hms-sys auth explain",
};
const ELSEWHERE = "the caller lives in another environment, and calls only there";
const NOT_GRANTED = "no role of the caller's has this permission; the operator sees why with hms-sys auth explain";

function reasonOf({ because, policies }: AccessVerdict, isUsers: boolean): string {
  if (because === "allowed") return "";
  if (policies.some(({ id }) => id === "built-in:other-environment") && because === "denied") return ELSEWHERE;
  return because === "default" && !isUsers ? NOT_GRANTED : REASONS[because];
}

/** What who is signed in could show to be let in. */
function stepUpOf({ because, mfaMaxAgeS }: AccessVerdict): { stepUp?: StepUp } {
  if (because !== "mfa" && because !== "mfa-age") return {};
  return { stepUp: mfaMaxAgeS === undefined ? {} : { maxAgeS: mfaMaxAgeS } };
}

function decisionOf(
  verdict: AccessVerdict,
  { isUsers, revision }: { isUsers: boolean; revision: string },
): PolicyDecision {
  const { because, auditLevel } = verdict;
  // By default nobody is let in: what would let others in has decided nothing.
  const ground = { revision, ...(because === "default" ? {} : { policies: verdict.policies.map(({ id }) => id) }) };
  if (because !== "allowed") {
    const reason = reasonOf(verdict, isUsers);
    return Object.freeze({ allowed: false, reason, ...stepUpOf(verdict), ...ground });
  }
  const level = auditLevel === ffiOptions.AuditLevel.UNSPECIFIED ? undefined : auditLevel;
  return { allowed: true, ...ground, ...(level === undefined ? {} : { auditLevel: level }) };
}

/** What an access policy is made of. */
export interface AccessPolicyOptions {
  /** What is known of things of the platform beside their names; asked on the call path. Default: nothing. */
  factsOf?: (kind: string, name: string, environment: string | undefined) => ResourceFacts | undefined;
  /** Hears of policies that could not be evaluated, and of what was denied because of them. */
  onError?: (errors: readonly string[]) => void;
}

/** Nobody has checked the request yet: what cannot be an environment is not worth remembering. */
const isName = (environment: string | undefined) => environment === undefined || environment.length <= 63;

const MOST_SHARED = 10_000;
const MOST_ENVIRONMENTS = 100;

/** True if a method of the platform asks for something else than what let the call in: that is remembered by the method. */
const isAboutMore = ({ method, permission }: PolicyQuestion) =>
  method.environment === undefined && permission !== method.rule.permission;

/** A method's slice, and what was decided by it for principals alike in all that it looks at. */
interface Known {
  readonly slice: PolicySlice;
  readonly shared: Map<string, PolicyDecision>;
  /** Decided anew with every call: it looks at the resource, at how the call came in or at the time. */
  readonly isLive: boolean;
}

/** Decisions under one set of policies: made once for each principal and method, unless they depend on more. */
class Decisions {
  readonly set: PolicySet;
  readonly #options: AccessPolicyOptions;
  readonly #known = new WeakMap<MethodEntry, Known>();
  /** By principal, method and the environment that a request to the platform names. */
  readonly #made = new WeakMap<Principal, WeakMap<MethodEntry, Map<string | undefined, PolicyDecision>>>();
  /** By principal, permission and transport. */
  readonly #filters = new WeakMap<Principal, Map<string, ResourceFilter>>();

  constructor(set: PolicySet, options: AccessPolicyOptions) {
    this.set = set;
    this.#options = options;
  }

  decide(question: PolicyQuestion): PolicyDecision {
    const { principal, method, environment } = question;
    if (isAboutMore(question)) return this.#judge(question, this.#sliceOf(question));
    const made = this.#made.get(principal)?.get(method)?.get(environment);
    if (made !== undefined) return made;
    const known = this.#knownOf(question);
    if (principal.kind === "operator") return this.#keep(question, operatorDecision(known.slice));
    if (known.isLive || !isName(environment)) return this.#judge(question, this.#sliceNow(question, known));
    return this.#keep(question, this.#shared(question, known));
  }

  /** Made once for a principal, unless it depends on the time. */
  filter(question: FilterQuestion): ResourceFilter {
    const { principal, permission, transport = "in-process" } = question;
    const own = this.#filters.get(principal) ?? new Map<string, ResourceFilter>();
    const name = `${transport} ${permission}`;
    const known = own.get(name);
    if (known !== undefined) return known;
    const made = filterOf(question, this.set, this.#options.onError);
    if (!this.set.platformSlice(permission).reads.age) this.#filters.set(principal, own.set(name, made));
    return made;
  }

  #keep({ principal, method, environment }: PolicyQuestion, decision: PolicyDecision): PolicyDecision {
    const own = this.#made.get(principal) ?? new WeakMap<MethodEntry, Map<string | undefined, PolicyDecision>>();
    const byEnvironment = own.get(method) ?? new Map<string | undefined, PolicyDecision>();
    // Callers choose the names.
    if (byEnvironment.size >= MOST_ENVIRONMENTS) byEnvironment.clear();
    this.#made.set(principal, own.set(method, byEnvironment.set(environment, remembered(decision))));
    return decision;
  }

  #shared(question: PolicyQuestion, { slice, shared }: Known): PolicyDecision {
    if (slice.reads.identity) return this.#judge(question, slice);
    const { kind, roles = [], groups = [], mfa = false, environment } = question.principal;
    const key = JSON.stringify([kind, mfa, environment, question.environment, [...roles].sort(), [...groups].sort()]);
    const decision = shared.get(key) ?? this.#judge(question, slice);
    if (shared.size >= MOST_SHARED) shared.clear();
    shared.set(key, remembered(decision));
    return decision;
  }

  #knownOf({ method, permission }: PolicyQuestion): Known {
    const before = this.#known.get(method);
    if (before !== undefined) return before;
    const isUsers = method.environment !== undefined;
    const slice = isUsers ? this.set.slice(targetOf(method)) : this.set.platformSlice(permission);
    const { resource, transport, age } = slice.reads;
    const known: Known = { slice, shared: new Map(), isLive: transport || age || (resource && !isUsers) };
    this.#known.set(method, known);
    return known;
  }

  /** Of policies about things of the platform, those about this one. */
  #sliceNow({ method, permission, resource: name, environment }: PolicyQuestion, { slice }: Known): PolicySlice {
    return method.environment === undefined ? this.#sliceOf({ permission, resource: name, environment }) : slice;
  }

  #sliceOf({ permission, resource: name, environment }: Omit<PolicyQuestion, "principal" | "method">): PolicySlice {
    const [kind = ""] = permission.split(":");
    return this.set.resourceSlice(permission, { kind, name, environment });
  }

  #judge(question: PolicyQuestion, slice: PolicySlice): PolicyDecision {
    const isUsers = question.method.environment !== undefined;
    const verdict = slice.judge(isUsers ? methodRequest(question) : this.#resourceRequest(question));
    if (verdict.errors.length > 0) this.#options.onError?.(verdict.errors);
    return decisionOf(verdict, { isUsers, revision: this.set.revision });
  }

  #resourceRequest({ principal, permission, resource: name, environment, transport }: PolicyQuestion): AccessRequest {
    const [kind = ""] = permission.split(":");
    const facts = this.#options.factsOf?.(kind, name, environment);
    const resource = resourceEntity({ kind, name, environment }, facts);
    return { subject: subjectOf(principal), permission, resource, environment, transport: transport ?? "in-process" };
  }
}

function methodRequest({ principal, method, transport = "in-process" }: PolicyQuestion): AccessRequest {
  const { environment, serviceId, method: name } = targetOf(method);
  const resource = methodEntity(serviceId, name);
  return { subject: subjectOf(principal), permission: CALL_PERMISSION, resource, environment, transport };
}

/** A decision as it is answered from now on. */
function remembered(decision: PolicyDecision): PolicyDecision {
  // The operator was let in by none.
  return decision.cached === true || decision.revision === undefined
    ? decision
    : Object.freeze({ ...decision, cached: true });
}

function operatorDecision({ auditLevel }: PolicySlice): PolicyDecision {
  return auditLevel === ffiOptions.AuditLevel.UNSPECIFIED ? { allowed: true } : { allowed: true, auditLevel };
}

const OPERATOR: PolicyDecision = Object.freeze({ allowed: true });

/**
 * Decides calls by the policies in force. The operator may do everything, so that no policy can lock him out; parts of the
 * platform may do what they were granted, whatever other policies say.
 */
export function createAccessPolicy(book: PolicyBook, options: AccessPolicyOptions = {}): Policy {
  const components = new Decisions(book.components, options);
  let decisions: Decisions | undefined;
  const current = () => {
    const set = book.current;
    if (decisions?.set !== set) decisions = new Decisions(set, options);
    return decisions;
  };
  return {
    decide(question) {
      const { principal, method } = question;
      if (method.environment === undefined) {
        if (principal.kind === "operator") return OPERATOR;
        if (principal.kind === "component") return components.decide(question);
      }
      return current().decide(question);
    },
    filter(question) {
      const { kind } = question.principal;
      if (kind === "operator") return everyResource;
      return (kind === "component" ? components : current()).filter(question);
    },
  };
}
