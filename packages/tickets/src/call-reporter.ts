import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { type AuditEvent, type AuditSink, type Client, HmsError, principalName } from "@hms/kernel";
import { StatusCode } from "@hms/kernel/errors";
import { ReportBacklog, type WaitingCall } from "./report-backlog.ts";
import type { TicketInstance } from "./ticket-payload.ts";

/** Whose calls are told, and to whom. */
export interface CallReporterOptions {
  registry: Pick<Client<typeof registry.RegistryService>, "reportCalls">;
  /** The instances served here; calls of other packages are not told. */
  instances: readonly TicketInstance[];
  /** How long calls are gathered; default 1 s. */
  gatherMs?: number;
  /** Hears why a report failed (it is tried again) and how many calls were dropped since. Default: nobody. */
  onFailure?: (failure: HmsError, dropped: number) => void;
}

/** Tells the registry of calls; disposing it tells what is left, once. */
export interface CallReporter extends AuditSink, AsyncDisposable {
  /** Calls that are kept for the next report. */
  readonly waiting: number;
}

const CALL_TIMEOUT_MS = 5000;
const GATHER_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const LARGEST_REQUEST = 64 * 1024;

/**
 * An audit sink that tells the registry of an instance's calls in batches (docs/tickets.md). While the registry is away
 * it keeps the newest 10,000 (16 MiB at most) and tries again, more and more rarely up to each 30 s; it never refuses.
 */
export function createCallReporter(options: CallReporterOptions): CallReporter {
  const { gatherMs = GATHER_MS, onFailure = () => {} } = options;
  const byPackage = new Map(options.instances.map((each) => [`${each.serviceId}.${each.version}`, each]));
  const backlog = new ReportBacklog();
  let pauseMs = gatherMs;
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;

  const tellOnce = async (): Promise<boolean> => {
    const batch = backlog.batch();
    const [first] = batch;
    if (first === undefined) return false;
    const calls = batch.map(({ record }) => record);
    try {
      await options.registry.reportCalls({ ...first.instance, calls }, { timeoutMs: CALL_TIMEOUT_MS });
      backlog.told(batch);
      return true;
    } catch (error) {
      const failure = HmsError.from(error);
      // What the registry will never take must not keep the rest from it.
      if (failure.code === "INVALID_ARGUMENT") backlog.drop(batch);
      onFailure(failure, backlog.takeDropped());
      throw failure;
    }
  };
  const tellAll = async () => {
    try {
      while (await tellOnce());
      pauseMs = gatherMs;
    } catch {
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  };
  const schedule = () => {
    if (timer !== undefined || sending !== undefined || backlog.size === 0) return;
    timer = setTimeout(() => {
      timer = undefined;
      sending = tellAll().finally(() => {
        sending = undefined;
        schedule();
      });
    }, pauseMs).unref();
  };
  return {
    accepts: true,
    get waiting() {
      return backlog.size;
    },
    record(event) {
      const { name, record } = recordOf(event);
      const instance = byPackage.get(name);
      if (instance === undefined) return;
      backlog.add({ instance, record });
      schedule();
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await sending;
      clearTimeout(timer);
      await tellAll();
    },
  };
}

/** The package a call's method is in, and what is told of the call. */
function recordOf(event: AuditEvent): { name: string; record: WaitingCall["record"] } {
  const slash = event.method.lastIndexOf("/");
  const dot = event.method.lastIndexOf(".", slash);
  const record = {
    recordId: randomUUID(),
    time: timestampFromDate(event.time),
    method: event.method.slice(dot + 1),
    principal: principalName(event.principal),
    code: codeOf(event),
    reason: event.reason,
    requestId: event.requestId,
    requestJson: event.request === undefined ? "" : requestJson(event.request),
  };
  return { name: event.method.slice(0, dot), record };
}

/** The kernel's denials end with the one code if the caller is known, else with the other. */
function codeOf({ outcome, principal }: AuditEvent): number {
  if (outcome !== "denied") return StatusCode[outcome];
  return principal.kind === "anonymous" ? StatusCode.UNAUTHENTICATED : StatusCode.PERMISSION_DENIED;
}

function requestJson(request: unknown): string {
  const text = JSON.stringify(request);
  return text.length <= LARGEST_REQUEST ? text : JSON.stringify({ omitted: `a request of ${text.length} characters` });
}
