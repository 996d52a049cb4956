import { openAuditSpool } from "@hms/audit-spool";
import { hostEnvironment, type InstancePaths } from "@hms/config";
import { componentPrincipal, Kernel } from "@hms/kernel";
import { createLocalPolicy, createTokenIdentity, ensureToken } from "@hms/local-access";
import { type CallMetrics, createCallLog, createCallMetrics, createCallTracer, type Logger } from "@hms/telemetry";
import { createRequestValidator } from "@hms/validation";

/** A kernel and what it counts. */
export interface ServerKernel {
  readonly kernel: Kernel;
  readonly metrics: CallMetrics;
}

/** The server's kernel with its ports: who callers are, what they may do, what is recorded. */
export function openKernel(paths: InstancePaths, stack: AsyncDisposableStack, log: Logger): ServerKernel {
  const audit = stack.use(
    openAuditSpool({
      directory: `${paths.data}/audit/server`,
      onChange: (accepts, reason) =>
        accepts
          ? log.info("the audit spool accepts events again")
          : log.error("the audit spool is full: nothing may change", { reason }),
    }),
  );
  const identity = createTokenIdentity([
    [ensureToken(paths.operatorToken), { kind: "operator", id: "operator" }],
    [ensureToken(paths.dataplaneToken), componentPrincipal("dataplane")],
  ]);
  const policy = createLocalPolicy({
    dataplane: ["mesh:read", "mesh:report"],
    "hms.sys.deployment": ["mesh:read", "mesh:write"],
    server: ["registry:register"],
  });
  const metrics = createCallMetrics();
  const observer = { finished: metrics.finished, failed: createCallLog(log).failed };
  const { otlpEndpoint, traceRatio: ratio } = hostEnvironment();
  const tracer = otlpEndpoint === undefined ? {} : { tracer: createCallTracer(ratio === undefined ? {} : { ratio }) };
  const validator = createRequestValidator();
  return { kernel: new Kernel({ identity, policy, audit, observer, validator, ...tracer }), metrics };
}
