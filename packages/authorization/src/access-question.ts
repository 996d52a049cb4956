import { HmsError, type Principal } from "@hms/kernel";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
import { CALL_PERMISSION } from "./entities.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { PolicySet, ResourceTarget } from "./policy-set.ts";

/** Whether somebody may do something, asked by name. */
export interface NamedQuestion {
  /** "user:anna", "service:default/payment-svc". */
  principal: string;
  roles: readonly string[];
  mfa: boolean;
  /** A permission. */
  action: string;
  /** "hms.emr.patient/GetPatient" for services:call, else the name of a thing of the platform; empty: of none. */
  resource: string;
  environment: string;
  /** Empty: nobody's. */
  owner: string;
}

const PRINCIPAL = /^(operator|component|service|user|anonymous):(.+)$/s;

/** Who is meant by a principal's name; undefined if it is none. A deployed service lives where its name says. */
export function subjectNamed(name: string, roles: readonly string[], mfa: boolean): AccessSubject | undefined {
  const [, kind, id = ""] = PRINCIPAL.exec(name) ?? [];
  if (kind === undefined) return undefined;
  const [environment, ...rest] = kind === "service" ? id.split("/") : [];
  const lives = rest.length > 0 && environment !== undefined ? { environment } : {};
  // Who is asked about with a second factor has shown it just now.
  const factor = mfa ? { mfa, mfaAgeS: 0 } : { mfa };
  return { kind: kind as Principal["kind"], id, roles, ...factor, known: kind !== "anonymous", ...lives };
}

/** What is meant by a permission and a resource's name. */
export function targetNamed({ action, resource, environment, owner }: NamedQuestion): AccessTarget | ResourceTarget {
  if (action === CALL_PERMISSION) {
    const at = resource.lastIndexOf("/");
    return { environment, serviceId: resource.slice(0, Math.max(0, at)), method: resource.slice(at + 1) };
  }
  const [kind = ""] = action.split(":");
  const facts = owner === "" ? {} : { owner };
  return { permission: action, resource: { kind, name: resource, environment }, facts };
}

const EVERYTHING: Pick<AccessVerdict, "allowed" | "because" | "rules" | "policies" | "errors" | "readsAge"> = {
  allowed: true,
  because: "allowed",
  rules: [],
  policies: [],
  errors: [],
  readsAge: false,
};

/**
 * What policies say to a question, by the same engine that decides calls: the operator may do everything, parts of the
 * platform what they were granted.
 */
export function judgeQuestion(
  { components }: Pick<PolicyBook, "components">,
  set: PolicySet,
  { subject, target }: { subject: AccessSubject; target: AccessTarget | ResourceTarget },
): AccessVerdict {
  const isUsers = !("permission" in target);
  if (subject.kind === "operator") {
    const { auditLevel } = isUsers ? set.slice(target) : set.platformSlice(target.permission);
    return { ...EVERYTHING, auditLevel };
  }
  if (isUsers) return set.judge(subject, target);
  return (subject.kind === "component" ? components : set).judgeResource(subject, target);
}

/** @throws HmsError INVALID_ARGUMENT if nobody is meant by the name */
export function subjectOfQuestion({ principal, roles, mfa }: NamedQuestion): AccessSubject {
  const subject = subjectNamed(principal, roles, mfa);
  if (subject !== undefined) return subject;
  throw new HmsError("INVALID_ARGUMENT", `${principal} is no principal; write kind and name, "user:anna".`);
}
