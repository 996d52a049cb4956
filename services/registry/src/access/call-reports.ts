import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { type AuditEvent, type AuditSink, type FieldViolation, HmsError, type Principal } from "@hms/kernel";
import { StatusCode, statusCodeName } from "@hms/kernel/errors";
import { invalid } from "../errors.ts";
import type { ServiceKey } from "../service-key.ts";

const MOST_REMEMBERED = 100_000;
const MOST_CALLS = 1000;
const METHOD = /^[A-Za-z0-9_]+\/[A-Za-z0-9_]+$/;
const PRINCIPAL = /^(operator|component|service|user|anonymous):(.+)$/s;
const LONGEST = 1000;

/** Turns what instances tell of their calls into audit events, each once. */
export class CallReports {
  readonly #audit: AuditSink;
  readonly #seen = new Set<string>();

  constructor(audit: AuditSink) {
    this.#audit = audit;
  }

  /**
   * Records the calls that were not told before, and resolves when they are kept; the last 100,000 are remembered.
   * @throws HmsError INVALID_ARGUMENT with every problem, RESOURCE_EXHAUSTED while the audit log takes nothing
   */
  record(key: ServiceKey, calls: readonly registry.CallRecord[]): Promise<void> | undefined {
    const violations = calls.flatMap(violationsOf);
    if (calls.length > MOST_CALLS) {
      violations.push({
        field: "calls",
        description: `has ${calls.length} calls; tell at most ${MOST_CALLS} at once.`,
      });
    }
    if (violations.length > 0) throw invalid("The report", violations);
    for (const call of calls) {
      const id = `${key.environment}/${key.serviceId}/${call.recordId}`;
      if (this.#seen.has(id)) continue;
      if (!this.#audit.accepts) {
        throw new HmsError(
          "RESOURCE_EXHAUSTED",
          "The audit log takes nothing now. Keep the report and send it again.",
          {
            reason: "AUDIT_SPOOL_FULL",
            retryAfterMs: 5000,
          },
        );
      }
      this.#audit.record(eventOf(key, call));
      this.#remember(id);
    }
    return this.#audit.kept?.();
  }

  #remember(id: string): void {
    this.#seen.add(id);
    if (this.#seen.size <= MOST_REMEMBERED) return;
    for (const oldest of this.#seen) {
      this.#seen.delete(oldest);
      return;
    }
  }
}

function violationsOf(call: registry.CallRecord, index: number): FieldViolation[] {
  const violations: FieldViolation[] = [];
  const problem = (field: string, description: string) =>
    violations.push({ field: `calls[${index}].${field}`, description });
  if (!/^[\x21-\x7e]{1,64}$/.test(call.recordId))
    problem("record_id", "is no id; use 1 to 64 visible ASCII characters.");
  if (!METHOD.test(call.method)) problem("method", 'is no method; write "PatientService/GetPatient".');
  if (!PRINCIPAL.test(call.principal))
    problem("principal", 'is no principal; write it as the ticket does, "user:anna".');
  return violations;
}

function eventOf({ serviceId, version, environment }: ServiceKey, call: registry.CallRecord): AuditEvent {
  const { UNAUTHENTICATED, PERMISSION_DENIED } = StatusCode;
  const isDenial = call.code === PERMISSION_DENIED || call.code === UNAUTHENTICATED;
  return {
    time: call.time ? timestampDate(call.time) : new Date(),
    principal: principalOf(call.principal),
    method: `${serviceId}.${version}.${call.method}`,
    permission: "services:call",
    resource: environment === "default" ? serviceId : `${environment}/${serviceId}`,
    outcome: isDenial ? "denied" : statusCodeName(call.code),
    reason: call.reason.slice(0, LONGEST),
    requestId: call.requestId.slice(0, LONGEST),
    ...(call.requestJson === "" ? {} : { request: parsed(call.requestJson) }),
  };
}

function principalOf(name: string): Principal {
  const [, kind, id = name] = PRINCIPAL.exec(name) ?? [];
  return { kind: (kind ?? "anonymous") as Principal["kind"], id };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
