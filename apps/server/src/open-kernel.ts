import { openAuditSpool, spoolMaxBytes } from "@hms/audit-spool";
import { hostEnvironment, type InstancePaths } from "@hms/config";
import { type CallObserver, Kernel } from "@hms/kernel";
import { limitStrangers } from "@hms/local-access";
import { type CallMetrics, createCallLog, createCallMetrics, createCallTracer, type Logger } from "@hms/telemetry";
import { createRequestValidator } from "@hms/validation";
import { openAccess, type ServerAccess } from "./open-access.ts";
import { openElsewhere } from "./open-elsewhere.ts";

/** A kernel and what it counts. */
export interface ServerKernel {
  readonly kernel: Kernel;
  /** The same for callers at the socket of deployed services. */
  readonly replicaKernel: Kernel;
  /** The same for callers on other machines. */
  readonly networkKernel: Kernel;
  /** All of them. */
  readonly kernels: readonly Kernel[];
  readonly access: ServerAccess;
  readonly metrics: CallMetrics;
  /** What sees the calls of all kernels. */
  readonly observer: CallObserver;
}

/** What a kernel is opened with. */
export interface OpenKernelOptions {
  paths: InstancePaths;
  /** The process's name, which its audit spool has. */
  process: string;
  log: Logger;
}

/** The server's kernel with its ports: who callers are, what they may do, what is recorded. */
export function openKernel({ paths, process, log }: OpenKernelOptions, stack: AsyncDisposableStack): ServerKernel {
  const audit = stack.use(
    openAuditSpool({
      directory: `${paths.audit}/${process}`,
      maxBytes: spoolMaxBytes(hostEnvironment()),
      onChange: (accepts, reason) =>
        accepts
          ? log.info("the audit spool accepts events again")
          : log.error("the audit spool is full: nothing may change", { reason }),
    }),
  );
  const access = openAccess(paths, stack, log);
  const { identity, replicaIdentity, policy } = access;
  const metrics = createCallMetrics();
  const { failed } = createCallLog(log);
  const observer: CallObserver = { finished: metrics.finished, failed, ended: undefined };
  const { otlpEndpoint, traceRatio: ratio } = hostEnvironment();
  const tracer = otlpEndpoint === undefined ? {} : { tracer: createCallTracer(ratio === undefined ? {} : { ratio }) };
  const validator = createRequestValidator();
  const options = { policy, audit, observer, validator, ...tracer };
  const kernel = new Kernel({ identity, ...options });
  const replicaKernel = new Kernel({ identity: replicaIdentity, ...options });
  const networkKernel = new Kernel({ identity: limitStrangers(identity), ...options });
  const kernels = [kernel, replicaKernel, networkKernel] as const;
  for (const each of kernels) access.takenAway.endStreamsAt(each);
  openElsewhere({ kernels, tlsFolder: paths.tls }, stack);
  return {
    kernel,
    replicaKernel,
    networkKernel,
    kernels,
    access,
    metrics,
    observer,
  };
}
