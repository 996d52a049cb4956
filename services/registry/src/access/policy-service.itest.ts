import type { policy } from "@hms/contracts";
import { afterEach, describe, expect, test } from "vitest";
import { clearScene, openRegistry, refused } from "../testing/access-scene.ts";

afterEach(clearScene);

describe("the policies' service", () => {
  test("lists, replaces and removes what it stored, and says what is wrong with a policy all at once", async () => {
    const { policies } = await openRegistry();
    const { policy: first } = await policies.putPolicy({ policy: { service: "hms.emr.*", allowedRoles: ["nurse"] } });
    expect(first).toMatchObject({ policyId: expect.stringMatching(/^p-/), method: "*", fromFile: false });
    expect(first?.changedAt).toBeDefined();
    await policies.putPolicy({ policy: { ...(first as policy.AccessPolicy), requiresMfa: true } });
    await policies.putPolicy({ policy: { policyId: "x", service: "hms.cdf.debate", deniedRoles: ["*"] } });
    const { policies: listed } = await policies.listPolicies({});
    expect(listed).toMatchObject([{ policyId: "x" }, { policyId: first?.policyId, requiresMfa: true }]);
    await policies.deletePolicy({ policyId: "x" });
    await expect(policies.deletePolicy({ policyId: "x" })).rejects.toMatchObject(refused("NOT_FOUND"));
    await expect(policies.deletePolicy({ policyId: "file:hms.emr/*" })).rejects.toMatchObject(
      refused("FAILED_PRECONDITION"),
    );
    const bad = { service: "Hms", method: "Get Patient", allowedRoles: ["a b"], environment: "Prod" };
    await expect(policies.putPolicy({ policy: bad })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: {
        fieldViolations: [
          { field: "policy.service" },
          { field: "policy.method" },
          { field: "policy.environment" },
          { field: "policy.allowed_roles[0]" },
        ],
      },
    });
  });

  test("explains a decision by the policies that make it", async () => {
    const { policies } = await openRegistry();
    await policies.putPolicy({
      policy: { policyId: "nurses", service: "hms.emr.*", method: "Get*", allowedRoles: ["nurse"] },
    });
    const ask = { principal: "user:anna", serviceId: "hms.emr.patient", method: "GetPatient" };
    expect(await policies.explainAccess({ ...ask, roles: ["nurse"] })).toMatchObject({
      allowed: true,
      policyIds: ["nurses"],
    });
    expect(await policies.explainAccess(ask)).toMatchObject({
      allowed: false,
      reason: expect.stringContaining("needs one of the roles nurse (nurses)"),
    });
    expect(await policies.explainAccess({ ...ask, principal: "operator:operator" })).toMatchObject({ allowed: true });
    await expect(policies.explainAccess({ ...ask, principal: "anna", method: "Get*" })).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "principal" }, { field: "method" }] },
    });
  });
});
