import { type RecordReader, readRecords } from "@hms/config-file";
import { ffiOptions } from "@hms/contracts";
import { parseDuration } from "@hms/manifest";
import { subjectNamed } from "./access-question.ts";
import { type AccessRule, ANYBODY, emptyRuleProblem, type PolicyTest, ruleChecks } from "./access-rule.ts";
import { AUDIT_LEVELS } from "./audit-level-words.ts";
import { cedarProblem } from "./cedar-problem.ts";

const { UNSPECIFIED } = ffiOptions.AuditLevel;

type UnnamedRule = Omit<AccessRule, "id">;

const isPrincipal = (text: string) =>
  subjectNamed(text, [], false) === undefined ? 'is no principal; write kind and name, "user:anna"' : undefined;

function readTest(reader: RecordReader): PolicyTest {
  return {
    principal: reader.text("principal", { check: isPrincipal }),
    roles: reader.texts("roles", { check: ruleChecks.role }),
    mfa: reader.flag("mfa"),
    action: reader.text("action", { check: ruleChecks.action }),
    resource: reader.text("resource", { fallback: "" }),
    environment: reader.text("environment", { fallback: "", check: ruleChecks.environment }),
    owner: reader.text("owner", { fallback: "" }),
    expectAllowed: reader.word("expect", { allow: true, deny: false }, undefined) ?? false,
  };
}

/** What only some policies have; nothing of it is there if the file does not say it. */
function readMore(reader: RecordReader): Pick<AccessRule, "cedar" | "description" | "tests"> {
  const cedar = reader.text("cedar", { fallback: "", check: (text) => cedarProblem(text) });
  const description = reader.text("description", { fallback: "" });
  const tests = reader.records("tests", readTest);
  return {
    ...(cedar === "" ? {} : { cedar }),
    ...(description === "" ? {} : { description }),
    ...(tests.length === 0 ? {} : { tests }),
  };
}

/** Whether a second factor is demanded; who says how old it may be demands one. */
function readFactor(reader: RecordReader): Pick<AccessRule, "requiresMfa" | "mfaMaxAgeS"> {
  const requiresMfa = reader.flag("requires_mfa");
  const check = (text: string) => ruleChecks.mfaMaxAgeMs(parseDuration(text));
  const text = reader.text("mfa_max_age", { fallback: "", check });
  return text === "" ? { requiresMfa } : { requiresMfa: true, mfaMaxAgeS: (parseDuration(text) ?? 0) / 1000 };
}

function readRule(reader: RecordReader): UnnamedRule & { id: string | undefined } {
  const role = { check: ruleChecks.role };
  const id = reader.text("id", { fallback: "", check: ruleChecks.id }) || undefined;
  const more = readMore(reader);
  const service = more.cedar === undefined ? {} : { fallback: ANYBODY };
  const rule: UnnamedRule = {
    service: reader.text("service", { check: ruleChecks.service, ...service }),
    method: reader.text("method", { fallback: "*", check: ruleChecks.method }),
    // The originals' documents spell these allow_roles and deny_roles.
    allowedRoles: reader.texts("allowed_roles", { ...role, alias: "allow_roles" }),
    deniedRoles: reader.texts("denied_roles", { ...role, alias: "deny_roles" }),
    ...readFactor(reader),
    auditLevel: reader.word("audit_level", AUDIT_LEVELS, UNSPECIFIED) ?? UNSPECIFIED,
    environment: reader.text("environment", { fallback: "", check: ruleChecks.environment }),
    ...more,
  };
  const problem = emptyRuleProblem(rule);
  if (problem) reader.refuse("", problem);
  return { ...rule, id };
}

/** Names a rule by what it is about, so that it keeps its name while the file around it changes. */
function idOf({ environment, service, method }: UnnamedRule): string {
  return `file:${environment === "" ? "" : `${environment}/`}${service}/${method}`;
}

/**
 * Reads policies as seed documents and the originals write them: one object, a list, or {"policies": […]} of {service,
 * method ("*"), allowed_roles, denied_roles, requires_mfa, mfa_max_age, audit_level, environment, id}. The spellings allow_roles and
 * deny_roles are taken too; audit_level is none, standard (or metadata), detailed or full (or request).
 * @throws HmsError INVALID_ARGUMENT, reason CONFIG_FILE_INVALID, with every problem, its line and column.
 */
export function parsePolicies(text: string, fileName: string): AccessRule[] {
  const taken = new Set<string>();
  return readRecords(text, {
    fileName,
    listKey: "policies",
    read(reader) {
      const { id: given, ...rule } = readRule(reader);
      const wanted = given ?? idOf(rule);
      if (given !== undefined && taken.has(given)) reader.refuse("id", `${given} names another policy already`);
      let id = wanted;
      for (let count = 2; taken.has(id); count++) id = `${wanted}#${count}`;
      taken.add(id);
      return { id, ...rule };
    },
  });
}
