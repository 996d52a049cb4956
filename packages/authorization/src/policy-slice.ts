import { ffiOptions } from "@hms/contracts";
import type { AccessRule } from "./access-rule.ts";
import type { AccessVerdict } from "./access-verdict.ts";
import { AskedPolicies } from "./asked-policies.ts";
import type { EngineAnswer } from "./cedar-engine.ts";
import { type CompiledPolicy, mentionedRoles, mentionsFactor, type PolicyReads } from "./compiled-policy.ts";
import type { AccessRequest } from "./entities.ts";

const { UNSPECIFIED } = ffiOptions.AuditLevel;

type AuditLevel = ffiOptions.AuditLevel;

const higher = (one: AuditLevel, other: AuditLevel): AuditLevel => (one > other ? one : other);

function highestOf(levels: readonly { readonly auditLevel: AuditLevel }[]): AuditLevel {
  let highest: AuditLevel = UNSPECIFIED;
  for (const { auditLevel } of levels) highest = higher(highest, auditLevel);
  return highest;
}

/** What a slice consists of. */
export interface SliceParts {
  policies: readonly CompiledPolicy[];
  /** The rules for the method, those included that only audit. */
  rules: readonly AccessRule[];
}

/**
 * The policies that may be about one call, parsed by Cedar when first asked. What forbids beats what permits, the default
 * is to deny, and whatever cannot be evaluated denies too.
 */
export class PolicySlice {
  readonly policies: readonly CompiledPolicy[];
  /** What decisions can depend on beside roles, groups, kind, second factor and environments. */
  readonly reads: PolicyReads;
  /** The highest audit level that any rule for all of the method's calls demands; UNSPECIFIED if none does. */
  readonly auditLevel: AuditLevel;
  readonly #rules: readonly AccessRule[];
  readonly #roles: ReadonlySet<string> | undefined;
  readonly #usesFactor: boolean;
  readonly #all: AskedPolicies;
  /** Those that may say something of who lives in no environment, as most people do. */
  readonly #atHome: AskedPolicies;
  readonly #byKey: ReadonlyMap<string, CompiledPolicy>;

  constructor({ policies, rules }: SliceParts) {
    this.policies = policies;
    this.#rules = rules;
    this.auditLevel = highestOf(rules.filter(({ cedar }) => cedar === undefined));
    // Ids of rules need not be unique before they are stored.
    this.#byKey = new Map(policies.map((policy, index) => [String(index), policy]));
    this.#roles = mentionedRoles(policies);
    this.#usesFactor = policies.some(mentionsFactor);
    this.#all = new AskedPolicies(this.#byKey);
    const atHome = [...this.#byKey].filter(([, { ofEnvironments }]) => ofEnvironments !== true);
    this.#atHome = atHome.length === policies.length ? this.#all : new AskedPolicies(new Map(atHome));
    const some = (what: keyof PolicyReads) => policies.some(({ reads }) => reads[what]);
    this.reads = {
      identity: some("identity"),
      resource: some("resource"),
      transport: some("transport"),
      age: some("age"),
    };
  }

  /** What the policies say of a call. */
  judge(request: AccessRequest): AccessVerdict {
    const asIs = this.#ask(request);
    if (asIs.errors.length > 0) return this.#failed(asIs);
    if (asIs.allowed) return this.#allowed(this.#policiesOf(asIs));
    const { subject } = request;
    const isYoung = subject.mfa && (subject.mfaAgeS === 0 || !this.reads.age);
    if (isYoung || !this.#usesFactor) return this.#denied(asIs);
    const withFactor = this.#ask({ ...request, subject: { ...subject, mfa: true, mfaAgeS: 0 } });
    if (withFactor.allowed) return this.#demanding(subject.mfa ? "mfa-age" : "mfa", this.#policiesOf(asIs));
    // A second factor would help nobody here: whatever demands one is beside the point.
    const remaining = asIs.reasons.filter((reason) => withFactor.reasons.includes(reason));
    return this.#denied({ ...asIs, reasons: remaining });
  }

  #ask(request: AccessRequest): EngineAnswer {
    const asked = request.subject.environment === undefined ? this.#atHome : this.#all;
    return asked.ask(this.#shorter(request));
  }

  /** Without roles that no policy can ask for: each costs as much as a policy. */
  #shorter(request: AccessRequest): AccessRequest {
    const roles = this.#roles;
    if (roles === undefined) return request;
    const { subject } = request;
    return { ...request, subject: { ...subject, roles: subject.roles.filter((role) => roles.has(role)) } };
  }

  #policiesOf({ reasons }: EngineAnswer): CompiledPolicy[] {
    return this.policies.filter((_, index) => reasons.includes(String(index)));
  }

  #allowed(permits: readonly CompiledPolicy[]): AccessVerdict {
    const demanding = this.policies.filter(({ effect, rule }) => effect === "forbid" && rule?.requiresMfa);
    const verdict = this.#verdict("allowed", [...permits, ...demanding.filter(({ id }) => id.endsWith(":mfa"))]);
    return { ...verdict, auditLevel: higher(this.auditLevel, highestOf(permits)) };
  }

  #demanding(because: "mfa" | "mfa-age", policies: readonly CompiledPolicy[]): AccessVerdict {
    const ages = policies.flatMap(({ rule }) => rule?.mfaMaxAgeS ?? []);
    return { ...this.#verdict(because, policies), ...(ages.length === 0 ? {} : { mfaMaxAgeS: Math.min(...ages) }) };
  }

  #denied(answer: EngineAnswer): AccessVerdict {
    const forbids = this.#policiesOf(answer);
    if (forbids.length > 0) return this.#verdict("denied", forbids);
    return this.#verdict(
      "default",
      this.policies.filter(({ effect }) => effect === "permit"),
    );
  }

  #failed({ errors }: EngineAnswer): AccessVerdict {
    const failed = errors.map(({ id }) => this.#byKey.get(id)).filter((policy) => policy !== undefined);
    const texts = errors.map(({ id, message }) => `${this.#byKey.get(id)?.id}: ${message}`);
    return { ...this.#verdict("error", failed), errors: texts };
  }

  #verdict(because: AccessVerdict["because"], policies: readonly CompiledPolicy[]): AccessVerdict {
    const deciding = new Set(policies.map(({ rule }) => rule));
    return {
      allowed: because === "allowed",
      because,
      rules: this.#rules.filter((rule) => deciding.has(rule)),
      policies,
      errors: [],
      readsAge: this.reads.age,
      auditLevel: this.auditLevel,
    };
  }
}
