import { ffiOptions } from "@hms/contracts";
import { type AccessRule, ANYBODY } from "./access-rule.ts";
import type { AccessSubject, AccessVerdict } from "./access-verdict.ts";

type ByRole = ReadonlyMap<string, readonly AccessRule[]>;

function byRole(rules: readonly AccessRule[], rolesOf: (rule: AccessRule) => readonly string[]): ByRole {
  const found = new Map<string, AccessRule[]>();
  for (const rule of rules) {
    for (const role of rolesOf(rule)) {
      const others = found.get(role);
      if (others) others.push(rule);
      else found.set(role, [rule]);
    }
  }
  return found;
}

/** The rules that apply to one method, ready to judge by role. What denies beats what allows; the default is to deny. */
export class MethodSlice {
  readonly #rules: readonly AccessRule[];
  readonly #allowed: ByRole;
  readonly #denied: ByRole;
  readonly #demanding: readonly AccessRule[];
  readonly #auditLevel: ffiOptions.AuditLevel;

  constructor(rules: readonly AccessRule[]) {
    this.#rules = rules;
    this.#allowed = byRole(rules, (rule) => rule.allowedRoles);
    this.#denied = byRole(rules, (rule) => rule.deniedRoles);
    this.#demanding = rules.filter(({ requiresMfa }) => requiresMfa);
    this.#auditLevel = rules.reduce<ffiOptions.AuditLevel>(
      (highest, { auditLevel }) => (auditLevel > highest ? auditLevel : highest),
      ffiOptions.AuditLevel.UNSPECIFIED,
    );
  }

  /** The highest audit level that any rule demands; UNSPECIFIED if none does. */
  get auditLevel(): ffiOptions.AuditLevel {
    return this.#auditLevel;
  }

  judge({ roles, mfa, known }: AccessSubject): AccessVerdict {
    const auditLevel = this.#auditLevel;
    const held = known ? [...roles, ANYBODY] : roles;
    const denying = rulesOf(this.#denied, [...roles, ANYBODY]);
    if (denying.length > 0) return { allowed: false, because: "denied", rules: denying, auditLevel };
    const allowing = rulesOf(this.#allowed, held);
    if (allowing.length === 0) {
      const rules = this.#rules.filter(({ allowedRoles }) => allowedRoles.length > 0);
      return { allowed: false, because: "default", rules, auditLevel };
    }
    if (this.#demanding.length > 0 && !mfa) {
      return { allowed: false, because: "mfa", rules: this.#demanding, auditLevel };
    }
    return { allowed: true, because: "allowed", rules: [...new Set([...allowing, ...this.#demanding])], auditLevel };
  }
}

function rulesOf(index: ByRole, roles: readonly string[]): AccessRule[] {
  if (index.size === 0) return [];
  return [...new Set(roles.flatMap((role) => index.get(role) ?? []))];
}
