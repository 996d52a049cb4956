import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";
import { type MethodRule, methodRule } from "@hms/kernel";
import { serviceNameOf } from "./service-name.ts";

const STRUCT = "google.protobuf.Struct";

function declaredIdempotency({ idempotency }: DescMethod): ffiOptions.Idempotency {
  const { NO_SIDE_EFFECTS, IDEMPOTENT, NONE } = ffiOptions.Idempotency;
  if (idempotency === Level.NO_SIDE_EFFECTS) return NO_SIDE_EFFECTS;
  return idempotency === Level.IDEMPOTENT ? IDEMPOTENT : NONE;
}

/**
 * The rule of any method: its (hms.ffi.v1.rule), and what that leaves out by default: permission services:call on the
 * service id, audit level METADATA, idempotency as proto's idempotency_level says, else NONE.
 */
export function ruleOf(method: DescMethod): MethodRule {
  const resource = serviceNameOf(method.parent.file.proto.package).serviceId;
  const idempotency = declaredIdempotency(method);
  const { METADATA } = ffiOptions.AuditLevel;
  if (!hasOption(method, ffiOptions.rule)) {
    return { permission: "services:call", resourcePath: [], resource, auditLevel: METADATA, idempotency };
  }
  const rule = methodRule(method);
  return {
    permission: rule.permission || "services:call",
    resourcePath: rule.resourcePath,
    ...(rule.resourcePath.length === 0 && rule.permission === "" ? { resource } : {}),
    auditLevel: rule.auditLevel || METADATA,
    idempotency: rule.idempotency || idempotency,
  };
}

/** Whether a method takes and answers any JSON object, because nobody described it. */
export function isUntyped({ input, output }: DescMethod): boolean {
  return input.typeName === STRUCT && output.typeName === STRUCT;
}
