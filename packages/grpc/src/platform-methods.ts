import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { ffiOptions, grpcHealth, grpcReflection, grpcReflectionAlpha } from "@hms/contracts";
import { anonymous, Kernel, type MethodEntry } from "@hms/kernel";
import { healthHandlers } from "./health-handlers.ts";
import { reflectionHandler } from "./reflection-handler.ts";

/** The methods that gRPC tools expect of every server. */
export interface PlatformMethods {
  /** One of them, with the kernel that runs it. */
  find(name: { service: string; method: string }): { kernel: Kernel; entry: MethodEntry } | undefined;
}

/** Their contracts come without our rule. */
const RULE: MethodEntry["rule"] = {
  permission: "registry:read",
  resourcePath: [],
  auditLevel: ffiOptions.AuditLevel.NONE,
  idempotency: ffiOptions.Idempotency.NO_SIDE_EFFECTS,
};

/** Reflection and health of what can be called through a kernel; if they are open, everybody may ask. */
export function platformMethods(kernel: Kernel, open: boolean): PlatformMethods {
  const { ServerReflection } = grpcReflection;
  const services = [ServerReflection, grpcReflectionAlpha.ServerReflection, grpcHealth.Health];
  const reflect = reflectionHandler(kernel, services);
  const entries = new Map<string, MethodEntry>();
  const add = (desc: DescMethod, handler: unknown) => {
    const name = `${desc.parent.typeName}/${desc.name}`;
    entries.set(name, { name, desc, rule: RULE, mutates: false, handler: handler as MethodEntry["handler"] });
  };
  add(ServerReflection.method.serverReflectionInfo, reflect);
  add(grpcReflectionAlpha.ServerReflection.method.serverReflectionInfo, reflect);
  const health = healthHandlers(kernel, services);
  for (const method of (grpcHealth.Health as DescService).methods) add(method, health[method.localName as "check"]);
  const runner = open ? openKernel() : kernel;
  return {
    find({ service, method }) {
      const entry = entries.get(`${service}/${method}`);
      return entry && { kernel: runner, entry };
    },
  };
}

/** Lets everybody in and keeps no record. */
function openKernel(): Kernel {
  return new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
}
