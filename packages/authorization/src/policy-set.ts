import { hash } from "node:crypto";
import { type AccessRule, ANYBODY } from "./access-rule.ts";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
import { compileRule } from "./compile-rule.ts";
import { type CompiledPolicy, READS_NOTHING } from "./compiled-policy.ts";
import {
  CALL_PERMISSION,
  methodEntity,
  type ResourceFacts,
  type ResourceName,
  resourceEntity,
  resourceId,
} from "./entities.ts";
import { isExact, patternTest } from "./name-pattern.ts";
import { PolicySlice } from "./policy-slice.ts";

interface Compiled {
  readonly rule: AccessRule;
  readonly policies: readonly CompiledPolicy[];
  readonly fitsService: (serviceId: string) => boolean;
  readonly fitsMethod: (method: string) => boolean;
}

/** Something of the platform that somebody wants to use. */
export interface ResourceTarget {
  /** "services:deploy". */
  readonly permission: string;
  readonly resource: ResourceName;
  readonly facts?: ResourceFacts | undefined;
}

/** The policies about a permission, by the one thing or environment that their heads name. */
interface Things {
  byId: Map<string, CompiledPolicy[]>;
  byEnvironment: Map<string, CompiledPolicy[]>;
  others: CompiledPolicy[];
  /** What the others alone are. */
  rest?: PolicySlice;
}

const MOST_SLICES = 5000;

/** Policies as they are at one moment, indexed by service and permission; what each is about is read off its head. */
export class PolicySet {
  /** In the order of service, method and id. */
  readonly rules: readonly AccessRule[];
  readonly #byService = new Map<string, Compiled[]>();
  readonly #byPattern: Compiled[] = [];
  /** What is not written as JSON: rules in Cedar, roles, grants. */
  readonly #others: readonly CompiledPolicy[];
  readonly #slices = new Map<string, PolicySlice>();
  readonly #byPermission = new Map<string, readonly CompiledPolicy[]>();
  readonly #things = new Map<string, Things>();
  readonly #numbers = new Map<AccessRule | CompiledPolicy, number>();
  #revision: string | undefined;

  /**
   * Names what is in force for the audit log: the first 12 hexadecimal digits of the SHA-256 of all policies in Cedar with
   * their ids, roles and grants included. The same policies have the same one in every process.
   */
  get revision(): string {
    if (this.#revision !== undefined) return this.#revision;
    const all = [...this.#byService.values(), this.#byPattern].flat().flatMap(({ policies }) => policies);
    const texts = [...all, ...this.#others].map(({ id, text, auditLevel }) => JSON.stringify([id, text, auditLevel]));
    this.#revision = hash("sha256", texts.sort().join("\n")).slice(0, 12);
    return this.#revision;
  }

  /** @throws HmsError INVALID_ARGUMENT if Cedar cannot read a rule that is written in it */
  constructor(rules: Iterable<AccessRule>, grants: readonly CompiledPolicy[] = []) {
    this.rules = [...rules].sort(inOrder);
    const others = [...grants];
    for (const rule of this.rules) {
      const policies = compileRule(rule);
      if (rule.cedar !== undefined) others.push(...policies);
      else
        this.#index({ rule, policies, fitsService: patternTest(rule.service), fitsMethod: patternTest(rule.method) });
    }
    this.#others = others;
    for (const each of [...this.rules, ...others]) this.#numbers.set(each, this.#numbers.size);
  }

  #index(compiled: Compiled): void {
    const { service } = compiled.rule;
    if (!isExact(service)) this.#byPattern.push(compiled);
    else this.#byService.set(service, [...(this.#byService.get(service) ?? []), compiled]);
  }

  /** The policies that may be about a method of a user's service; worth keeping for as long as the set is in force. */
  slice({ environment, serviceId, method }: AccessTarget): PolicySlice {
    const fitting = this.#ofService(environment, serviceId).filter(({ fitsMethod }) => fitsMethod(method));
    const others = this.#about(CALL_PERMISSION).filter(
      ({ scope }) => scope.service?.(serviceId) !== false && scope.method?.(method) !== false,
    );
    return this.#sliceOf(fitting, others);
  }

  /** The policies that may be about a permission of the platform. */
  platformSlice(permission: string): PolicySlice {
    return this.#sliceOf([], this.#about(permission));
  }

  #about(permission: string): readonly CompiledPolicy[] {
    const known = this.#byPermission.get(permission);
    if (known !== undefined) return known;
    const found = this.#others.filter(({ scope }) => isAbout(scope.permissions, permission));
    this.#byPermission.set(permission, found);
    return found;
  }

  /** Those of them that may be about one thing. */
  resourceSlice(permission: string, resource: ResourceName): PolicySlice {
    const index = this.#things.get(permission) ?? thingsOf(this.platformSlice(permission).policies);
    this.#things.set(permission, index);
    const own = index.byId.get(resourceId(resource)) ?? [];
    const around = index.byEnvironment.get(resource.environment ?? "") ?? [];
    if (own.length === 0 && around.length === 0) {
      index.rest ??= this.#sliceOf([], index.others);
      return index.rest;
    }
    return this.#sliceOf([], [...index.others, ...around, ...own]);
  }

  /** Methods that the same policies are about share a slice. */
  #sliceOf(fitting: readonly Compiled[], others: readonly CompiledPolicy[]): PolicySlice {
    const key = [...fitting.map(({ rule }) => rule), ...others].map((each) => this.#numbers.get(each)).join();
    const known = this.#slices.get(key);
    if (known !== undefined) return known;
    const rules = [...fitting.map(({ rule }) => rule), ...others.flatMap(({ rule }) => rule ?? [])];
    const slice = new PolicySlice({ policies: [...fitting.flatMap(({ policies }) => policies), ...others], rules });
    if (this.#slices.size >= MOST_SLICES) this.#slices.clear();
    this.#slices.set(key, slice);
    return slice;
  }

  /** What the policies say of a call of a user's method. */
  judge(subject: AccessSubject, target: AccessTarget): AccessVerdict {
    const resource = methodEntity(target.serviceId, target.method);
    const { environment } = target;
    const request = { subject, permission: CALL_PERMISSION, resource, environment, transport: "ticket" } as const;
    return this.slice(target).judge(request);
  }

  /** What the policies say of the use of something of the platform. */
  judgeResource(subject: AccessSubject, { permission, resource, facts }: ResourceTarget): AccessVerdict {
    const { environment } = resource;
    const entity = resourceEntity(resource, facts);
    const request = { subject, permission, resource: entity, environment, transport: "socket" } as const;
    return this.resourceSlice(permission, resource).judge(request);
  }

  /**
   * What the policies say of all methods of a service together, those included that nobody knows: allowed only by a rule
   * for every method, and not if any of them is denied.
   */
  judgeService(subject: AccessSubject, { environment, serviceId }: Omit<AccessTarget, "method">): AccessVerdict {
    const rules = this.#ofService(environment, serviceId).map(({ rule }) =>
      rule.method === ANYBODY ? rule : { ...rule, method: ANYBODY, allowedRoles: [] },
    );
    const others = this.#about(CALL_PERMISSION).filter(({ scope }) => scope.service?.(serviceId) !== false);
    // What looks closer than at roles may permit one method and forbid another: here only its denials count, for all.
    const plain = others.flatMap((policy) => (looksCloser(policy) ? asDenial(policy) : [policy]));
    const slice = new PolicySlice({ policies: [...rules.flatMap(compileRule), ...plain], rules });
    const resource = methodEntity(serviceId, ANYBODY);
    return slice.judge({ subject, permission: CALL_PERMISSION, resource, environment, transport: "ticket" });
  }

  #ofService(environment: string, serviceId: string): Compiled[] {
    const named = this.#byService.get(serviceId) ?? [];
    const fitting = this.#byPattern.filter(({ fitsService }) => fitsService(serviceId));
    return [...named, ...fitting].filter(({ rule }) => rule.environment === "" || rule.environment === environment);
  }
}

function thingsOf(policies: readonly CompiledPolicy[]): Things {
  const things: Things = { byId: new Map(), byEnvironment: new Map(), others: [] };
  const add = (map: Map<string, CompiledPolicy[]>, key: string, policy: CompiledPolicy) =>
    map.set(key, [...(map.get(key) ?? []), policy]);
  for (const policy of policies) {
    const { thing, environment } = policy.scope;
    if (thing !== undefined) add(things.byId, thing, policy);
    else if (environment !== undefined) add(things.byEnvironment, environment, policy);
    else things.others.push(policy);
  }
  return things;
}

function isAbout(permissions: readonly string[] | undefined, permission: string): boolean {
  if (permissions === undefined || permissions.includes(permission)) return true;
  return permissions.includes(`${permission.split(":")[0]}:*`);
}

function looksCloser({ scope, reads }: CompiledPolicy): boolean {
  return reads.resource || scope.method !== undefined;
}

function asDenial(policy: CompiledPolicy): CompiledPolicy[] {
  if (policy.effect === "permit") return [];
  return [{ ...policy, text: "forbid (principal, action, resource);", reads: READS_NOTHING }];
}

function inOrder(a: AccessRule, b: AccessRule): number {
  const [left, right] = [a, b].map(({ service, method, id }) => `${service}\0${method}\0${id}`) as [string, string];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
