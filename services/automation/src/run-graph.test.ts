import { deploymentSecrets } from "@hms/contracts";
import { anonymous, implement, Kernel } from "@hms/kernel";
import { expect, test } from "vitest";
import { readGraph } from "./run-graph.ts";

const kernel = new Kernel({
  identity: { authenticate: () => anonymous },
  policy: { decide: () => ({ allowed: true }) },
  audit: { accepts: true, record: () => {} },
});
const { SecretService } = deploymentSecrets;
const never = () => Promise.reject(new Error("Nobody calls here."));
const handlers = Object.fromEntries(Object.keys(SecretService.method).map((name) => [name, never]));
kernel.register(implement(SecretService, handlers as never));

test.each(["SetSecret", "RevealSecret"])("a step cannot call %s: a run would show the value", async (method) => {
  const uses = `call/${SecretService.typeName}/${method}`;
  await expect(readGraph(kernel, { nodes: { a: { uses } } }, "default")).rejects.toMatchObject({
    details: { fieldViolations: [expect.objectContaining({ field: "graph.nodes.a.uses" })] },
  });
});

test("other methods of the same service may be steps", async () => {
  const uses = `call/${SecretService.typeName}/ListSecrets`;
  const { graph } = await readGraph(kernel, { nodes: { a: { uses } } }, "default");
  expect(graph.nodes.a).toMatchObject({ uses });
});
