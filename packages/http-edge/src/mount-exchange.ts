import { create, createFileRegistry, type DescMethod } from "@bufbuild/protobuf";
import { EmptySchema, FileDescriptorProtoSchema, file_google_protobuf_empty } from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";
import { anonymous, CallContext, HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import { EdgeCall } from "./edge-call.ts";
import { EdgeFault } from "./edge-fault.ts";
import type { EdgeTurn } from "./edge-turn.ts";
import type { Mount } from "./mounts.ts";
import { credentialsOf } from "./request-credentials.ts";
import type { ExchangeShare } from "./unary-exchange.ts";

const PACKAGE = "hms.ffi.edge";

// What is mounted has no contract; policies and validators see a method that takes and answers nothing.
const MOUNTED = mountedMethod();

function mountedMethod(): DescMethod {
  const empty = ".google.protobuf.Empty";
  const file = create(FileDescriptorProtoSchema, {
    name: "hms/ffi/edge.proto",
    package: PACKAGE,
    syntax: "proto3",
    dependency: ["google/protobuf/empty.proto"],
    service: [{ name: "Mount", method: [{ name: "Serve", inputType: empty, outputType: empty }] }],
  });
  const registry = createFileRegistry(file, () => file_google_protobuf_empty);
  return registry.getService(`${PACKAGE}.Mount`)?.methods[0] as DescMethod;
}

/** Answers a request through a mount, as a call that the kernel authenticates, authorizes, limits and records. */
export async function mountExchange({ kernel, bodies }: ExchangeShare, turn: EdgeTurn, mount: Mount): Promise<void> {
  const { request, response, requestId, environment, query, isPlatformHost, peer } = turn;
  const path = turn.path.slice(mount.prefix.length);
  const readBody = () => bodies.read(request);
  let refused: unknown;
  const handler = async (_: unknown, { principal, signal }: CallContext) => {
    try {
      await mount.handler(request, response, { principal, requestId, environment, path, query, signal, readBody });
      return create(EmptySchema);
    } catch (thrown) {
      refused = thrown;
      throw EdgeFault.from(thrown).error;
    }
  };
  const entry = entryOf(mount, handler as MethodEntry["handler"]);
  try {
    if (mount.rule.public) await runPublic(kernel, entry, new EdgeCall(turn, { transport: "network" }));
    else {
      const credentials = credentialsOf(request.headers, {
        forBrowser: mount.rule.browser === true,
        isPlatformHost,
        peer,
      });
      await kernel.unary(entry, create(EmptySchema), new EdgeCall(turn, credentials));
    }
  } catch (thrown) {
    throw refused ?? thrown;
  }
}

function entryOf({ prefix, rule }: Mount, handler: MethodEntry["handler"]): MethodEntry {
  const { AuditLevel, Idempotency } = ffiOptions;
  return {
    name: `edge:${prefix}`,
    desc: MOUNTED,
    rule: {
      permission: rule.permission,
      resourcePath: [],
      resource: rule.resource ?? "",
      auditLevel: rule.auditLevel === "none" ? AuditLevel.NONE : AuditLevel.METADATA,
      idempotency: rule.mutates ? Idempotency.NONE : Idempotency.NO_SIDE_EFFECTS,
    },
    mutates: rule.mutates,
    handler,
  };
}

/** A call without a principal, recorded and limited as any other. */
async function runPublic(kernel: Kernel, entry: MethodEntry, call: EdgeCall): Promise<void> {
  const started = performance.now();
  const { audit, observer } = kernel.options;
  const isAudited = entry.rule.auditLevel !== ffiOptions.AuditLevel.NONE;
  const { metadata, deadlineAt, source } = call;
  const context = new CallContext({
    method: entry,
    principal: anonymous,
    deadlineAt,
    metadata,
    attached: true,
    way: "http",
    source,
  });
  call.attach(context);
  let failure: HmsError | undefined;
  try {
    if (entry.mutates && isAudited && !audit.accepts) throw spoolFull();
    await (entry.handler as (input: unknown, context: CallContext) => Promise<unknown>)(undefined, context);
  } catch (thrown) {
    failure = HmsError.from(thrown);
    throw failure;
  } finally {
    const outcome = failure?.code ?? "OK";
    if (isAudited) record(context, { outcome, reason: failure?.message ?? "" }, kernel);
    const durationMs = performance.now() - started;
    observer?.finished(entry, outcome, durationMs);
    observer?.ended?.({ context, error: failure, durationMs, input: undefined, auditLevel: entry.rule.auditLevel });
  }
}

function record(
  { method, principal, requestId, way, source, traceparent }: CallContext,
  end: { outcome: HmsError["code"] | "OK"; reason: string },
  { options }: Kernel,
): void {
  const { permission, resource = "" } = method.rule;
  const call = { principal, method: method.name, permission, resource, requestId, way, source, traceparent };
  options.audit.record({ time: new Date(), ...call, ...end });
}

function spoolFull(): HmsError {
  return new HmsError("UNAVAILABLE", "The audit spool is full, so nothing may change; reads go on.", {
    reason: "AUDIT_SPOOL_FULL",
  });
}
