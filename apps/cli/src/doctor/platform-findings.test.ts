import { create } from "@bufbuild/protobuf";
import { agent, mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import type { Finding } from "./finding.ts";
import { agentFindings, databaseRoleFindings, dataPlaneFindings } from "./platform-findings.ts";

const { Isolation, MeshTier, ReplicaState } = agent;
const status = (state: object) => agentFindings(create(agent.GetStatusResponseSchema, state));
const planes = (state: object) => dataPlaneFindings(create(mesh.GetSnapshotResponseSchema, state));
const levels = (findings: Finding[]) => Object.fromEntries(findings.map(({ check, level }) => [check, level]));
const server = { name: "server", state: ReplicaState.RUNNING, restarts: 3 };
const node = { nodeId: "dataplane", appliedVersion: 7n };
const own = { service: "mesh", role: "hms_mesh", sharedBecause: "" };
const sharedBecause =
  "The role app may not create roles, so all share it. To separate them: ALTER ROLE app CREATEROLE.";

const wells: [string, () => Finding[]][] = [
  ["a machine that keeps services apart", () => status({ isolation: Isolation.OWN_UID, meshTier: MeshTier.DNS })],
  ["parts that run", () => status({ isolation: Isolation.OWN_UID, meshTier: MeshTier.DNS, components: [server] })],
  ["data planes that are up to date", () => planes({ version: 7n, nodes: [node] })],
  ["services with roles of their own", () => databaseRoleFindings([own])],
];
test.each(wells)("nothing is found about %s", (_, look) => {
  expect(new Set(Object.values(levels(look())))).toEqual(new Set(["ok"]));
});

const ills: [string, string, () => Finding[]][] = [
  ["isolation", "warning", () => status({ isolation: Isolation.NONE, isolationReason: "no user namespaces" })],
  ["limits", "warning", () => status({ limitsReason: "No control group may be divided." })],
  ["mesh tier", "warning", () => status({ meshTier: MeshTier.PROXY, isolation: Isolation.USER_NAMESPACE })],
  ["server", "warning", () => status({ components: [{ ...server, restarts: 4 }] })],
  ["server", "problem", () => status({ components: [{ ...server, state: ReplicaState.BACKING_OFF }] })],
  ["data plane", "problem", () => planes({ version: 7n })],
  ["data plane", "warning", () => planes({ version: 8n, nodes: [node] })],
  ["database roles", "warning", () => databaseRoleFindings([own, { service: "registry", role: "app", sharedBecause }])],
];
test.each(ills)("a %s that is not well is a %s with a remedy", (check, level, look) => {
  const found = look().find((one) => one.check === check);
  expect(found).toMatchObject({ check, level, remedy: expect.stringMatching(/\w{3}/) });
  for (const one of look()) if (one.level !== "ok") expect(one.remedy, one.check).toMatch(/\w{3}/);
});

test("a shared database role is named with the services that share it and the statement that ends it", () => {
  const roles = ["mesh", "registry"].map((service) => ({ service, role: "app", sharedBecause }));
  expect(databaseRoleFindings(roles)).toEqual([
    {
      check: "database roles",
      level: "warning",
      finding: "mesh, registry share the role app: The role app may not create roles, so all share it.",
      remedy: "To separate them: ALTER ROLE app CREATEROLE.",
    },
  ]);
});

test("before the server's first start nothing is said of roles", () => {
  expect(databaseRoleFindings([])).toEqual([]);
});
