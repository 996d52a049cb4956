import { type DescMethod, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { HmsError } from "./hms-error.ts";

/** The rule of a method as its contract states it. */
export interface MethodRule {
  readonly permission: string;
  /** Path of the request field that names the resource, as local field names; empty for none. */
  readonly resourcePath: readonly string[];
  /** Names the resource of every call, where no field does: the service id for methods of users' services. */
  readonly resource?: string;
  /** Whether the contract's requests name an environment, in a text field of this name. */
  readonly namesEnvironment?: boolean;
  readonly auditLevel: ffiOptions.AuditLevel;
  readonly idempotency: ffiOptions.Idempotency;
}

/** One callable method: its contract, its rule, its handler. */
export interface MethodEntry {
  /** "hms.sys.mesh.v1.MeshService/SetService". */
  readonly name: string;
  /** Where the service lives that answers it elsewhere; undefined: it is served by this kernel. */
  readonly environment?: string;
  readonly desc: DescMethod;
  readonly rule: MethodRule;
  /** True if a call may change something. */
  readonly mutates: boolean;
  /** The service's handler, bound; its shape follows from the method's kind. */
  readonly handler: (input: never, context: never) => unknown;
}

const TEXT = ScalarType.STRING;
const DEFAULT_ENVIRONMENT = "default";

const localName = (field: string) => field.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

function namesEnvironment({ input }: DescMethod): boolean {
  return input.fields.some(({ name, scalar }) => name === "environment" && scalar === TEXT);
}

/**
 * Reads the rule of a method.
 * @throws HmsError INTERNAL if the contract gives it none; the fast check finds this before a release does.
 */
export function methodRule(method: DescMethod): MethodRule {
  if (!hasOption(method, ffiOptions.rule)) {
    throw new HmsError(
      "INTERNAL",
      `${method.parent.typeName}/${method.name} has no (hms.ffi.v1.rule) in its contract.`,
    );
  }
  const rule = getOption(method, ffiOptions.rule);
  return {
    permission: rule.permission,
    resourcePath: rule.resourceField === "" ? [] : rule.resourceField.split(".").map(localName),
    ...(namesEnvironment(method) ? { namesEnvironment: true } : {}),
    auditLevel: rule.auditLevel,
    idempotency: rule.idempotency,
  };
}

/** Builds the entry of one method of a service. */
export function methodEntry(
  desc: DescMethod,
  handler: MethodEntry["handler"],
  ruleOf: (method: DescMethod) => MethodRule = methodRule,
): MethodEntry {
  const rule = ruleOf(desc);
  return {
    name: `${desc.parent.typeName}/${desc.name}`,
    desc,
    rule,
    mutates: rule.idempotency !== ffiOptions.Idempotency.NO_SIDE_EFFECTS,
    handler,
  };
}

/** What a request is about: the rule's own resource or the value of its resource field, empty if it names none. */
export function resourceOf(rule: MethodRule, request: unknown): string {
  if (rule.resourcePath.length === 0) return rule.resource ?? "";
  let value: unknown = request;
  for (const part of rule.resourcePath) value = (value as Record<string, unknown> | undefined)?.[part];
  return typeof value === "string" ? value : "";
}

/**
 * The environment that a request names; left empty it is "default", as everywhere, but for a reading that names no
 * resource: that is about all of them, and has none.
 */
export function environmentOf({ rule, mutates }: MethodEntry, request: unknown): string | undefined {
  if (rule.namesEnvironment !== true) return undefined;
  const { environment } = request as { environment?: string };
  if (environment !== undefined && environment !== "") return environment;
  return mutates || rule.resourcePath.length > 0 ? DEFAULT_ENVIRONMENT : undefined;
}
