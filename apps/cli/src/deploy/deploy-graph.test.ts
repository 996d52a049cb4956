import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type DeployWay, deployGraph, deploySteps } from "./deploy-graph.ts";
import { deployOrder } from "./deploy-order.ts";

/** "c needs a, b" as c:a,b. */
const services = (...texts: string[]) =>
  deployOrder(
    texts.map((text) => {
      const [name = "", needs = ""] = text.split(":");
      return { name, needs: needs === "" ? [] : needs.split(","), file: `${name}.hms.yml` };
    }),
  );

function graphOf(texts: string[], way: Partial<DeployWay> = {}, manifest = "name: x") {
  const whole: DeployWay = { policy: "halt", parallel: false, ...way };
  const graph = deployGraph(deploySteps(services(...texts), whole), whole, ({ name }) => ({ name, manifest }));
  return graph.nodes as Record<string, { needs?: { node: string; on: string }[]; if?: string; with: JsonObject }>;
}
/** The edges of the deploys: "b<a" for success, "b<a?" for any end. */
function edges(texts: string[], way: Partial<DeployWay> = {}): string {
  const nodes = Object.entries(graphOf(texts, way)).filter(([name]) => !/^undo|^settle/.test(name));
  return nodes
    .map(([name, { needs = [] }]) => `${name}<${needs.map(({ node, on }) => (on === "always" ? `${node}?` : node))}`)
    .join(" ");
}
const SHOP = ["db", "mail", "api:db", "web:api"];

test.each([
  ["halt", false, "db< mail<db api<mail web<api"],
  ["rollback-all", false, "db< mail<db api<mail web<api"],
  ["continue", false, "db< mail<db? api<db,mail? web<api"],
  ["halt", true, "db< mail< api<db,mail web<api"],
  ["continue", true, "db< mail< api<db web<api"],
] as const)("with %s, at once: %s, services wait for %s", (policy, parallel, expected) => {
  expect(edges(SHOP, { policy, parallel })).toBe(expected);
});

test("what a service needs elsewhere is not waited for", () => {
  expect(edges(["web:elsewhere"], { policy: "continue", parallel: true })).toBe("web<");
});

test("rollback-all takes back what succeeded, the last first, unless all of the last have succeeded", () => {
  const nodes = graphOf(SHOP, { policy: "rollback-all", parallel: true });
  const undo = Object.entries(nodes).filter(([name]) => name.startsWith("undo_"));
  expect(undo.map(([name, { needs }]) => [name, needs?.[0]?.node])).toEqual([
    ["undo_web", "settle"],
    ["undo_api", "undo_web"],
    ["undo_mail", "undo_api"],
    ["undo_db", "undo_mail"],
  ]);
  expect(nodes.undo_db?.if).toBe(
    `nodes["db"].state == "succeeded" && [nodes["web"].state].exists(state, state != "succeeded")`,
  );
  expect(nodes.undo_db?.with).toMatchObject({
    service: "db",
    revision: `\${{ nodes["db"].output.previous_revision }}`,
  });
  expect(Object.keys(graphOf(SHOP)).filter((name) => name.startsWith("undo_"))).toEqual([]);
});

test("names that are none of nodes stand for their place, and texts for themselves", () => {
  const long = "a".repeat(63);
  expect(edges(["settle", long, "web"])).toBe("service_1< service_2<service_1 web<service_2");
  const { web } = graphOf(["web"], {}, `env: {A: $\${{x}}, B: '\${{ 1 }}'}`);
  expect(web?.with.manifest).toBe(`env: {A: $\${{ '$' + '{{' }}x}}, B: '\${{ '$' + '{{' }} 1 }}'}`);
});
