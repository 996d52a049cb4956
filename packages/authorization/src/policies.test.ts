import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ffiOptions } from "@hms/contracts";
import { anonymous, type HmsError, type MethodEntry, type Principal } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type AccessRule,
  createAccessPolicy,
  explainVerdict,
  openPolicyFile,
  PolicyBook,
  PolicySet,
  parsePolicies,
  patternTest,
} from "./index.ts";

const { UNSPECIFIED, NONE, METADATA, REQUEST } = ffiOptions.AuditLevel;

function rule(init: Partial<AccessRule> = {}): AccessRule {
  return {
    id: "r",
    service: "hms.emr.patient",
    method: "GetPatient",
    allowedRoles: [],
    deniedRoles: [],
    requiresMfa: false,
    auditLevel: UNSPECIFIED,
    environment: "",
    ...init,
  };
}

const target = { environment: "default", serviceId: "hms.emr.patient", method: "GetPatient" };
const subject = (roles: string[], mfa = false) => ({ roles, mfa, known: true });
const because = (rules: AccessRule[], roles: string[], mfa = false) =>
  new PolicySet(rules).judge(subject(roles, mfa), target).because;

function entry(init: { environment?: string; method?: string; resource?: string } = {}): MethodEntry {
  const { environment = "default", method = "GetPatient", resource = "hms.emr.patient" } = init;
  const parent = { file: { proto: { package: "hms.emr.patient.v1" } } };
  return { environment, desc: { name: method, parent }, rule: { resource } } as unknown as MethodEntry;
}

describe("policies", () => {
  test("deny by default, allow by role, and what denies beats what allows", () => {
    expect(because([], ["doctor"])).toBe("default");
    const doctors = rule({ allowedRoles: ["doctor", "nurse"] });
    expect(because([doctors], ["nurse"])).toBe("allowed");
    expect(because([doctors], ["visitor"])).toBe("default");
    expect(because([rule()], ["doctor"])).toBe("default");
    const noContractors = rule({ id: "d", service: "hms.*", method: "*", deniedRoles: ["contractor"] });
    expect(because([doctors, noContractors], ["doctor", "contractor"])).toBe("denied");
    expect(because([doctors, rule({ id: "n", deniedRoles: ["*"] })], ["doctor"])).toBe("denied");
  });

  test("* allows every known principal and nobody else", () => {
    const set = new PolicySet([rule({ allowedRoles: ["*"] })]);
    expect(set.judge(subject([]), target).allowed).toBe(true);
    expect(set.judge({ roles: [], mfa: false, known: false }, target).allowed).toBe(false);
  });

  test("demand a second factor of everybody as soon as one of them does", () => {
    const rules = [rule({ allowedRoles: ["doctor"] }), rule({ id: "m", service: "hms.emr.*", requiresMfa: true })];
    expect(because(rules, ["doctor"])).toBe("mfa");
    expect(because(rules, ["doctor"], true)).toBe("allowed");
    expect(because(rules, ["visitor"], true)).toBe("default");
  });

  test("hold in their environment only", () => {
    const set = new PolicySet([rule({ allowedRoles: ["doctor"], environment: "staging" })]);
    expect(set.judge(subject(["doctor"]), target).allowed).toBe(false);
    expect(set.judge(subject(["doctor"]), { ...target, environment: "staging" }).allowed).toBe(true);
  });

  test("name services and methods by patterns", () => {
    const fits = (pattern: string, name: string) => patternTest(pattern)(name);
    expect(fits("hms.emr.*", "hms.emr.patient")).toBe(true);
    expect(fits("hms.emr.*", "hms.emr")).toBe(false);
    expect(fits("hms.emr.*", "hms.emrx.patient")).toBe(false);
    expect(fits("*", "")).toBe(true);
    expect(fits("Get*ById", "GetPatientById")).toBe(true);
    expect(fits("a*a", "a")).toBe(false);
    expect(fits("*.b*b.*", "a.bb.c")).toBe(true);
    expect(because([rule({ allowedRoles: ["d"], method: "get*" })], ["d"])).toBe("default");
    expect(because([rule({ allowedRoles: ["d"], service: "*.patient", method: "Get*" })], ["d"])).toBe("allowed");
  });

  test("leave the most in the audit log that any of them demands", () => {
    const rules = [
      rule({ allowedRoles: ["d"], auditLevel: NONE }),
      rule({ id: "a", method: "*", auditLevel: REQUEST }),
    ];
    expect(new PolicySet(rules).judge(subject(["d"]), target).auditLevel).toBe(REQUEST);
    expect(new PolicySet([rule()]).judge(subject(["d"]), target).auditLevel).toBe(UNSPECIFIED);
  });

  test("allow a whole service only by a rule for all its methods, and if none of them is denied", () => {
    const whole = (rules: AccessRule[]) => new PolicySet(rules).judgeService(subject(["d"]), target).because;
    expect(whole([rule({ allowedRoles: ["d"] })])).toBe("default");
    expect(whole([rule({ allowedRoles: ["d"], method: "*" })])).toBe("allowed");
    expect(whole([rule({ allowedRoles: ["d"], method: "*" }), rule({ id: "x", deniedRoles: ["d"] })])).toBe("denied");
    expect(whole([rule({ allowedRoles: ["d"], method: "*" }), rule({ id: "x", requiresMfa: true })])).toBe("mfa");
  });

  test("say why, and what would have to change", () => {
    const rules = [
      rule({ id: "a", allowedRoles: ["nurse", "doctor"] }),
      rule({ id: "b", deniedRoles: ["contractor", "x"] }),
      rule({ id: "c", requiresMfa: true }),
    ];
    const explain = (roles: string[], mfa = false) =>
      explainVerdict(new PolicySet(rules).judge(subject(roles, mfa), target), { roles }, target);
    expect(explain(["doctor"], true)).toBe("Allowed by a, c.");
    expect(explain(["doctor"])).toBe("Denied: c demands a second factor; sign in with one.");
    expect(explain(["doctor", "contractor"])).toBe("Denied: b denies the role contractor, whatever else allows it.");
    expect(explain(["visitor"])).toBe(
      'Denied: hms.emr.patient/GetPatient in the environment "default" needs one of the roles doctor, nurse (a).',
    );
    expect(explainVerdict(new PolicySet([]).judge(subject([]), target), { roles: [] }, target)).toMatch(
      /no policy allows anybody/,
    );
  });
});

describe("thousands of random questions", () => {
  let state = 1;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  const pick = <T>(values: readonly T[]) => values[random(values.length)] as T;
  const some = <T>(values: readonly T[]) => values.filter(() => random(3) === 0);
  const ROLES = ["a", "b", "c", "*"];
  const randomRule = (id: string) =>
    rule({
      id,
      service: pick(["hms.a", "hms.b", "hms.*", "*", "*.a"]),
      method: pick(["Get", "Put", "*", "G*"]),
      allowedRoles: some(ROLES),
      deniedRoles: random(3) === 0 ? some(["a", "b"]) : [],
      ...pick([{}, {}, {}, {}, { requiresMfa: true }, { requiresMfa: true, mfaMaxAgeS: pick([60, 900]) }]),
      environment: pick(["", "", "default", "prod"]),
    });
  const asExpression = (pattern: string) => new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
  /** The same rules in the plainest words there are. */
  const naive = (
    rules: AccessRule[],
    who: ReturnType<typeof subject> & { mfaAgeS?: number | undefined },
    what: typeof target,
  ) => {
    const fitting = rules.filter(
      (r) =>
        asExpression(r.service).test(what.serviceId) &&
        asExpression(r.method).test(what.method) &&
        (r.environment === "" || r.environment === what.environment),
    );
    if (fitting.some((r) => r.deniedRoles.some((role) => who.roles.includes(role)))) return false;
    if (fitting.some((r) => r.requiresMfa && !who.mfa)) return false;
    if (fitting.some(({ mfaMaxAgeS = 10_000 }) => mfaMaxAgeS < (who.mfaAgeS ?? 9999))) return false;
    return fitting.some((r) => r.allowedRoles.some((role) => role === "*" || who.roles.includes(role)));
  };

  test("get the answer that the plainest reading gives; denials never widen, roles never narrow but by a denial", () => {
    let rules: AccessRule[] = [];
    let set = new PolicySet(rules);
    let narrower = set;
    for (let round = 0; round < 2500; round++) {
      if (round % 10 === 0) {
        rules = Array.from({ length: random(6) }, (_, i) => randomRule(`r${i}`));
        set = new PolicySet(rules);
        narrower = new PolicySet([...rules, { ...randomRule("more"), allowedRoles: [] }]);
      }
      const who = { ...subject(some(["a", "b", "c"]), random(2) === 0), mfaAgeS: pick([undefined, 0, 60, 61, 901]) };
      const what = {
        environment: pick(["default", "prod"]),
        serviceId: pick(["hms.a", "hms.b"]),
        method: pick(["Get", "Put"]),
      };
      const { allowed } = set.judge(who, what);
      expect(allowed).toBe(naive(rules, who, what));
      if (round % 4 > 0) continue;
      if (!allowed) expect(narrower.judge(who, what).allowed).toBe(false);
      const more = { ...who, roles: [...who.roles, "d"] };
      if (allowed) expect(set.judge(more, what).allowed).toBe(true);
    }
  });
});

describe("a policy file", () => {
  test("is read as the documents write it, in either spelling", () => {
    const seed = `{"service": "hms.emr.patient", "method": "GetPatient", "allowed_roles": ["doctor", "nurse"],
      "denied_roles": [], "requires_mfa": false, "audit_level": "standard"}`;
    const read = { allowedRoles: ["doctor", "nurse"], deniedRoles: [], requiresMfa: false, auditLevel: METADATA };
    expect(parsePolicies(seed, "p.json")).toEqual([rule({ ...read, id: "file:hms.emr.patient/GetPatient" })]);
    const original = `{"policies": [{"service": "hms.cdf.debate", "allow_roles": ["x"], "deny_roles": ["y"],
      "audit_level": "full", "environment": "prod"}, {"service": "hms.cdf.debate", "environment": "prod", "requires_mfa": true}]}`;
    expect(parsePolicies(original, "p.json")).toMatchObject([
      { id: "file:prod/hms.cdf.debate/*", method: "*", allowedRoles: ["x"], deniedRoles: ["y"], auditLevel: REQUEST },
      { id: "file:prod/hms.cdf.debate/*#2", requiresMfa: true },
    ]);
  });

  test("is read as the guide shows it", () => {
    const guide = readFileSync(new URL("../../../docs/guide/access.md", import.meta.url), "utf8");
    const examples = [...guide.matchAll(/```json\n(.*?)```/gs)].map(([, example = ""]) => example);
    const [rules = "", inCedar = ""] = examples;
    expect(parsePolicies(rules, "guide")).toHaveLength(2);
    const [managers] = parsePolicies(inCedar, "guide");
    expect(managers).toMatchObject({ cedar: expect.stringContaining("forbid"), tests: [{ expectAllowed: false }] });
  });

  test("that is wrong is refused with all problems at their places", () => {
    const text = `[{"service": "hms.Emr", "allowed_rols": ["a"], "audit_level": "ful"},
 {"service": "hms.emr", "method": "Get Patient", "allowed_roles": ["a b"], "allow_roles": []},
 {"service": "hms.emr"}, {"id": "x", "service": "a", "allowed_roles": ["*"]}, {"id": "x", "service": "b", "allowed_roles": ["*"]}]`;
    let failure: HmsError | undefined;
    try {
      parsePolicies(text, "policies.json");
    } catch (error) {
      failure = error as HmsError;
    }
    const found = failure?.details.fieldViolations?.map((v) => `${v.line}:${v.column} ${v.field}: ${v.description}`);
    expect(found).toEqual([
      "1:2 [0]: says nothing; name allowed_roles, denied_roles, requires_mfa or audit_level",
      '1:14 [0].service: cannot be "hms.Emr"; write a service id with * for any part, "hms.emr.*"',
      "1:25 [0].allowed_rols: is no key here; did you mean allowed_roles",
      '1:63 [0].audit_level: cannot be "ful"; did you mean "full"',
      '2:35 [1].method: cannot be "Get Patient"; write a method name with * for any part, "Get*"',
      '2:68 [1].allowed_roles[0]: cannot be "a b"; use visible ASCII characters',
      "2:76 [1].allow_roles: means the same as allowed_roles; keep allowed_roles",
      "3:2 [2]: says nothing; name allowed_roles, denied_roles, requires_mfa or audit_level",
      "3:79 [4].id: x names another policy already",
    ]);
    expect(failure?.message).toMatch(/^policies.json cannot be used\. 1:2 /);
  });

  describe("in force", () => {
    let folder = "";
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "hms-policies-"));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    test("decides at once when it changes, and stays in force when it breaks", async () => {
      const path = join(folder, "ffi-policies.json");
      const book = new PolicyBook();
      const failures: HmsError[] = [];
      using _ = openPolicyFile({ path, book, onChange: () => {}, onFailure: (failure) => failures.push(failure) });
      book.replace("stored", []);
      const policy = createAccessPolicy(book);
      const doctor: Principal = { kind: "user", id: "anna", roles: ["doctor"] };
      const method = entry();
      const allowed = () =>
        (policy.decide({ principal: doctor, permission: "", resource: "", method }) as { allowed: boolean }).allowed;
      expect(allowed()).toBe(false);
      writeFileSync(path, '{"service": "hms.emr.*", "allowed_roles": ["doctor"]}', { mode: 0o644 });
      await vi.waitFor(() => expect(allowed()).toBe(true), 4000);
      writeFileSync(path, '{"service": "hms.emr.*", "allowed_roles": ["doctor"]');
      await vi.waitFor(() => expect(failures).toHaveLength(1), 4000);
      expect(allowed()).toBe(true);
      writeFileSync(path, "[]");
      await vi.waitFor(() => expect(allowed()).toBe(false), 4000);
    });
  });
});

describe("an access policy", () => {
  function open(rules: AccessRule[]) {
    const book = new PolicyBook();
    book.replace("file", []);
    book.replace("stored", rules);
    const policy = createAccessPolicy(book);
    const decide = (principal: Principal, method = entry()) =>
      policy.decide({ principal, permission: "call:method", resource: "", method });
    return { book, decide };
  }

  test("allows the operator everything and nobody unknown anything", () => {
    const { decide } = open([rule({ allowedRoles: ["*"], deniedRoles: ["*"], auditLevel: REQUEST })]);
    expect(decide({ kind: "operator", id: "operator" })).toEqual({ allowed: true, auditLevel: REQUEST });
    expect(decide(anonymous)).toMatchObject({ allowed: false });
    expect(open([]).decide({ kind: "operator", id: "operator" })).toEqual({ allowed: true });
  });

  test("remembers a decision until the policies change", () => {
    const { book, decide } = open([rule({ allowedRoles: ["doctor"], auditLevel: METADATA })]);
    const doctor: Principal = { kind: "user", id: "anna", roles: ["doctor"] };
    const method = entry();
    const revision = book.current.revision;
    const decision = { allowed: true, auditLevel: METADATA, policies: ["r:allow"], revision };
    expect(decide(doctor, method)).toEqual(decision);
    expect(decide(doctor, method)).toEqual({ ...decision, cached: true });
    // Of one like her, too.
    expect(decide({ ...doctor, id: "ben" }, method)).toEqual({ ...decision, cached: true });
    expect(decide(doctor, method)).toBe(decide(doctor, method));
    expect(decide(doctor, entry({ method: "DeletePatient" }))).toMatchObject({ allowed: false });
    expect(decide(doctor, entry({ environment: "prod" }))).toMatchObject({ allowed: true });
    book.replace("stored", []);
    expect(decide(doctor, method)).toMatchObject({ allowed: false, reason: expect.stringContaining("no policy") });
  });

  test("have a revision that is the same for the same ones in every process, and another after any change", () => {
    const rules = [rule({ allowedRoles: ["doctor"] }), rule({ id: "s", deniedRoles: ["x"] })];
    const { book } = open(rules);
    const { revision } = book.current;
    expect(revision).toMatch(/^[0-9a-f]{12}$/);
    expect(open([...rules].reverse()).book.current.revision).toBe(revision);
    for (const others of [[], [rules[0]!], [rules[0]!, rule({ id: "s", deniedRoles: ["y"] })]]) {
      book.replace("stored", others);
      expect(book.current.revision).not.toBe(revision);
    }
    book.replace("stored", rules);
    expect(book.current.revision).toBe(revision);
  });

  test("allows nobody who lives in another environment, whatever his roles are called", () => {
    const { decide } = open([rule({ allowedRoles: ["service:payment-svc"] })]);
    const lives = (environment: string): Principal => ({
      kind: "service",
      id: `${environment}/payment-svc`,
      roles: ["service:payment-svc"],
      environment,
    });
    expect(decide(lives("default"))).toMatchObject({ allowed: true });
    expect(decide(lives("staging"))).toMatchObject({
      allowed: false,
      reason: expect.stringContaining("environment"),
      policies: ["built-in:other-environment"],
    });
    expect(decide(lives("staging"), entry({ environment: "staging" }))).toMatchObject({ allowed: true });
  });

  test("decides nothing before all policies have been read", () => {
    const book = new PolicyBook();
    book.replace("stored", [rule({ allowedRoles: ["*"] })]);
    const decide = () =>
      createAccessPolicy(book).decide({
        principal: { kind: "user", id: "anna" },
        permission: "",
        resource: "",
        method: entry(),
      });
    expect(decide).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
  });
});

describe("a change of policies", () => {
  const changed = (before: AccessRule[], after: AccessRule[]) => {
    const book = new PolicyBook();
    book.replace("file", []);
    book.replace("stored", before);
    return book.replace("stored", after);
  };
  const a = rule({ id: "a", allowedRoles: ["doctor", "nurse"] });

  test("takes away where somebody may call less", () => {
    expect(changed([a], [])).toEqual(["hms.emr.patient"]);
    expect(changed([a], [{ ...a, allowedRoles: ["doctor"] }])).toEqual(["hms.emr.patient"]);
    expect(changed([a], [{ ...a, requiresMfa: true }])).toEqual(["hms.emr.patient"]);
    expect(changed([a], [{ ...a, service: "hms.emr.*" }])).toEqual(["hms.emr.patient"]);
    expect(changed([a], [a, rule({ id: "b", service: "hms.*", deniedRoles: ["x"] })])).toEqual(["hms.*"]);
  });

  test("takes nothing away where somebody may call more, or nothing changes", () => {
    const b = rule({ id: "b", deniedRoles: ["x"], requiresMfa: true });
    expect(changed([a, b], [a, b])).toEqual([]);
    expect(changed([], [a])).toEqual([]);
    expect(changed([a], [{ ...a, allowedRoles: [...a.allowedRoles, "visitor"], auditLevel: REQUEST }])).toEqual([]);
    expect(changed([b], [])).toEqual([]);
  });
});
