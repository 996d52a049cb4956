import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";
import type { HttpBinding } from "./http-binding.ts";
import type { PathTemplate } from "./path-template.ts";

/** The id and version of a service: its package without and with its version ("hms.cdf.debate", "v1"; default "v1"). */
export function serviceIdOf(service: DescService): { id: string; version: string } {
  const dot = service.typeName.lastIndexOf(".");
  const pkg = dot < 0 ? service.typeName : service.typeName.slice(0, dot);
  const parts = /^(.+)\.(v\d+[a-z0-9]*)$/.exec(pkg);
  return { id: parts?.[1] ?? pkg, version: parts?.[2] ?? "v1" };
}

/** Whether a contract says that a method only reads, in our words or in protobuf's. */
function onlyReads(method: DescMethod): boolean {
  if (method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) return true;
  if (!hasOption(method, ffiOptions.rule)) return false;
  return getOption(method, ffiOptions.rule).idempotency === ffiOptions.Idempotency.NO_SIDE_EFFECTS;
}

/**
 * The paths that every method has: "/v1/hms.cdf.debate/CreateDebate" with the service's id and version, and the same
 * with the contract's full name. POST takes the request as JSON, GET as query parameters where the method only reads.
 */
export function plainBindings(method: DescMethod): HttpBinding[] {
  const { id, version } = serviceIdOf(method.parent);
  const paths = [`/${version}/${id}/${method.name}`, `/${version}/${method.parent.typeName}/${method.name}`];
  if (version !== "v1") paths.push(`/v1/${method.parent.typeName}/${method.name}`);
  const readable = onlyReads(method) && (method.methodKind === "unary" || method.methodKind === "server_streaming");
  return paths.flatMap((path) => [binding(method, "POST", path), ...(readable ? [binding(method, "GET", path)] : [])]);
}

function binding(method: DescMethod, httpMethod: "GET" | "POST", path: string): HttpBinding {
  return {
    method,
    httpMethod,
    template: literalTemplate(path),
    variables: [],
    body: httpMethod === "GET" ? "none" : "all",
    responseField: undefined,
    isReadOnly: httpMethod === "GET",
    isStated: false,
  };
}

function literalTemplate(source: string): PathTemplate {
  const segments = source
    .slice(1)
    .split("/")
    .map((text) => ({ kind: "literal", text }) as const);
  return { source, segments, variables: [], verb: undefined };
}
