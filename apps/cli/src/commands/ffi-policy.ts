import { toJson } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { patternTest } from "@hms/authorization";
import { ffiOptions, policy } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { formatDuration } from "@hms/manifest";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { requestMessage } from "../ffi/request-text.ts";
import { askedService } from "../ffi/service-contract.ts";
import { enumWord } from "../output/human.ts";
import { renderTable } from "../output/table.ts";

/** Lists, changes and explains who may call what. */
export async function run(invocation: Invocation): Promise<number> {
  const { options } = invocation;
  const asked = (["put", "delete", "as"] as const).filter((name) => typeof options[name] === "string");
  if (asked.length > 1) {
    const flags = asked.map((name) => `--${name}`).join(" and ");
    throw new HmsError("INVALID_ARGUMENT", `${flags} do different things: give one of them. Nothing was changed.`);
  }
  if (typeof options.put === "string") return put(invocation, options.put);
  if (typeof options.delete === "string") return remove(invocation, options.delete);
  return typeof options.as === "string" ? explain(invocation, options.as) : list(invocation);
}

async function put({ session, output, signal }: Invocation, json: string): Promise<number> {
  const given = requestMessage(policy.AccessPolicySchema, json) as policy.AccessPolicy;
  const { policy: kept } = await session().policies.putPolicy({ policy: given }, { signal });
  if (output.json && kept) output.document(toJson(policy.AccessPolicySchema, kept));
  else output.result(kept?.policyId ?? "");
  return ExitCode.OK;
}

async function remove({ session, output, signal }: Invocation, policyId: string): Promise<number> {
  await session().policies.deletePolicy({ policyId }, { signal });
  if (output.json) output.document({ deleted: policyId });
  else output.note(`Removed ${policyId}.`);
  return ExitCode.OK;
}

async function explain(
  { args, options, globals, session, output, signal }: Invocation,
  principal: string,
): Promise<number> {
  const [service, method] = args;
  if (service === undefined || method === undefined) {
    throw new HmsError("INVALID_ARGUMENT", "--as explains one call: name the service and the method too.");
  }
  const { serviceId } = askedService(service, globals.environment);
  const roles = typeof options.roles === "string" ? options.roles.split(",") : [];
  const question = { principal, roles, mfa: options.mfa === true, serviceId, method, environment: globals.environment };
  const answer = await session().policies.explainAccess(question, { signal });
  if (output.json) output.document(toJson(policy.ExplainAccessResponseSchema, answer, { alwaysEmitImplicit: true }));
  else output.result(answer.reason);
  return answer.allowed ? ExitCode.OK : ExitCode.ERROR;
}

async function list({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const { policies } = await session().policies.listPolicies({}, { signal });
  const found = policies.filter(isAbout(args, globals.environment));
  if (output.json) output.document(found.map((one) => toJson(policy.AccessPolicySchema, one)));
  else if (found.length === 0) {
    output.note(`No policy${args.length > 0 ? ` about ${args.join("/")}` : ""}: only the operator may call.`);
  } else
    for (const line of renderTable(["SERVICE", "METHOD", "ALLOWED", "DENIED", "MFA", "AUDIT", "ID"], found.map(row)))
      output.result(line);
  return ExitCode.OK;
}

/** Picks policies that decide about a service, and about a method of it; all where none is named. */
function isAbout([word, method]: string[], environment: string): (one: policy.AccessPolicy) => boolean {
  if (word === undefined) return () => true;
  const { serviceId } = askedService(word, environment);
  return (one) =>
    patternTest(one.service)(serviceId) &&
    (method === undefined || patternTest(one.method)(method)) &&
    (one.environment === "" || one.environment === environment);
}

/** Whether a second factor is demanded, and how long ago it may have been shown. */
function factor({ requiresMfa, mfaMaxAge }: policy.AccessPolicy): string {
  if (mfaMaxAge !== undefined) return `${formatDuration(durationMs(mfaMaxAge))} at most`;
  return requiresMfa ? "yes" : "-";
}

function row(one: policy.AccessPolicy): string[] {
  const audit =
    one.auditLevel === ffiOptions.AuditLevel.UNSPECIFIED ? "-" : enumWord(ffiOptions.AuditLevel, one.auditLevel);
  const id = one.fromFile ? `${one.policyId} (file)` : one.policyId;
  return [one.service, one.method, one.allowedRoles.join(" "), one.deniedRoles.join(" "), factor(one), audit, id];
}
