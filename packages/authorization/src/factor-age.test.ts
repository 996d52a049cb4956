import { ffiOptions } from "@hms/contracts";
import type { HmsError, MethodEntry, Principal } from "@hms/kernel";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type AccessRule, createAccessPolicy, explainVerdict, PolicyBook, PolicySet, parsePolicies } from "./index.ts";

const NOW = 1_800_000_000_000;
const doctors: AccessRule = {
  id: "doctors",
  service: "hms.emr.patient",
  method: "*",
  allowedRoles: ["doctor"],
  deniedRoles: [],
  requiresMfa: false,
  auditLevel: ffiOptions.AuditLevel.UNSPECIFIED,
  environment: "",
};
const lately: AccessRule = {
  ...doctors,
  id: "lately",
  method: "Delete*",
  allowedRoles: [],
  requiresMfa: true,
  mfaMaxAgeS: 900,
};
const target = { environment: "default", serviceId: "hms.emr.patient", method: "DeletePatient" };
const subject = (mfaAgeS: number | undefined, mfa = true) => ({ roles: ["doctor"], mfa, mfaAgeS, known: true });
const inCedar = (condition: string): AccessRule => ({
  ...doctors,
  id: "cedar",
  service: "*",
  allowedRoles: [],
  cedar: `forbid (principal, action == Action::"services:call", resource) unless { ${condition} };`,
});

afterEach(() => void vi.useRealTimers());

function open(rules: AccessRule[]) {
  vi.useFakeTimers({ now: NOW });
  const book = new PolicyBook();
  book.replace("file", []);
  book.replace("stored", rules);
  const policy = createAccessPolicy(book);
  const parent = { file: { proto: { package: "hms.emr.patient.v1" } } };
  const method = { environment: "default", desc: { name: "DeletePatient", parent }, rule: { resource: "" } };
  return (principal: Principal) =>
    policy.decide({ principal, permission: "", resource: "", method: method as unknown as MethodEntry });
}

describe("a policy that says how old a second factor may be", () => {
  const judge = (rules: AccessRule[], ...who: Parameters<typeof subject>) =>
    new PolicySet(rules).judge(subject(...who), target);

  test("lets in whose factor is as old at most, and nobody whose factor's age is not known", () => {
    const rules = [doctors, lately];
    expect([0, 899, 900].map((age) => judge(rules, age).because)).toEqual(["allowed", "allowed", "allowed"]);
    expect(judge(rules, 901)).toMatchObject({ allowed: false, because: "mfa-age", mfaMaxAgeS: 900 });
    expect(judge(rules, undefined)).toMatchObject({ allowed: false, because: "mfa-age" });
    expect(judge(rules, 0, false)).toMatchObject({ allowed: false, because: "mfa", mfaMaxAgeS: 900 });
    const who = { ...subject(undefined), roles: ["visitor"] };
    expect(new PolicySet(rules).judge(who, target).because).toBe("default");
    expect(new PolicySet(rules).judge(subject(5000), { ...target, method: "GetPatient" }).because).toBe("allowed");
  });

  test("beats one that allows an older factor", () => {
    const older = { ...lately, id: "older", mfaMaxAgeS: 3600 };
    expect(judge([doctors, older, lately], 901)).toMatchObject({ because: "mfa-age", mfaMaxAgeS: 900 });
    expect(judge([doctors, older, lately], 4000)).toMatchObject({ because: "mfa-age", mfaMaxAgeS: 900 });
    expect(judge([doctors, older], 901).because).toBe("allowed");
  });

  test("can be written in Cedar, too", () => {
    const rules = [doctors, inCedar("context.mfa && context has mfa_age && context.mfa_age < 60")];
    expect([59, 60, undefined].map((age) => judge(rules, age).because)).toEqual(["allowed", "mfa-age", "mfa-age"]);
  });

  test("says how old it may be, and what would help", () => {
    const verdict = judge([doctors, lately], 901);
    expect(explainVerdict(verdict, { roles: ["doctor"] }, target)).toBe(
      "Denied: lately demands a second factor that was shown at most 15m ago; sign in again.",
    );
  });
});

describe("a decision about a call", () => {
  const anna: Principal = { kind: "user", id: "anna", roles: ["doctor"], mfa: true, authenticatedAtMs: NOW - 899_000 };

  test.each([
    ["as JSON", lately],
    ["in Cedar", inCedar("context.mfa && context has mfa_age && context.mfa_age <= 900")],
  ])("ends when the factor has become too old for a policy written %s, for the same caller", (_, rule) => {
    const decide = open([doctors, rule]);
    expect(decide(anna)).toMatchObject({ allowed: true });
    vi.advanceTimersByTime(1000);
    expect(decide(anna)).toMatchObject({ allowed: true });
    vi.advanceTimersByTime(1);
    const refused = decide(anna);
    expect(refused).toMatchObject({ allowed: false, reason: expect.stringContaining("shown more lately") });
    expect(refused).toHaveProperty("stepUp", rule === lately ? { maxAgeS: 900 } : {});
    expect(decide({ ...anna, authenticatedAtMs: NOW })).toMatchObject({ allowed: true });
    // What goes by itself, as an operation that outlives its call, has a factor of no known age.
    const { authenticatedAtMs: _at, ...later } = anna;
    expect(decide(later)).toMatchObject({ allowed: false });
  });

  test("says what to show, also to who has shown no second factor at all", () => {
    const decide = open([doctors, lately]);
    expect(decide({ ...anna, mfa: false })).toMatchObject({ allowed: false, stepUp: { maxAgeS: 900 } });
    expect(open([doctors, { ...lately, mfaMaxAgeS: 60 }])({ ...anna, roles: [] })).not.toHaveProperty("stepUp");
  });
});

describe("a policy file", () => {
  const read = (text: string) => parsePolicies(`[{"service": "hms.a", ${text}}]`, "p.json");

  test("says an age as a duration, and demands a second factor by that alone; the plain form stays as it was", () => {
    expect(read('"mfa_max_age": "15m"')).toMatchObject([{ requiresMfa: true, mfaMaxAgeS: 900 }]);
    expect(read('"requires_mfa": true, "mfa_max_age": "1h30m"')).toMatchObject([{ mfaMaxAgeS: 5400 }]);
    const [plain] = read('"requires_mfa": true');
    expect(plain).toMatchObject({ requiresMfa: true });
    expect(plain).not.toHaveProperty("mfaMaxAgeS");
  });

  test.each(["15", "0s", "13h", "1.5s", "-1m", "soon"])("does not take %j for an age", (age) => {
    const refused = () => read(`"mfa_max_age": "${age}"`);
    expect(refused).toThrow(/mfa_max_age is no age of a second factor; write whole seconds from "1s" to "12h"/);
    expect(refused).toThrow(expect.toSatisfy((error: HmsError) => error.details.reason === "CONFIG_FILE_INVALID"));
  });
});

test("an age that becomes shorter takes something away, one that becomes longer does not", () => {
  const changed = (after: Partial<AccessRule>) => {
    const book = new PolicyBook();
    book.replace("file", []);
    book.replace("stored", [lately]);
    return book.replace("stored", [{ ...lately, ...after }]);
  };
  expect(changed({ mfaMaxAgeS: 899 })).toEqual(["hms.emr.patient"]);
  expect(changed({ mfaMaxAgeS: 901 })).toEqual([]);
  expect(changed({ requiresMfa: false })).toEqual([]);
});
