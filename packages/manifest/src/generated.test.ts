import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseAmount } from "./amount.ts";
import { manifestJsonSchema } from "./json-schema.ts";
import { childrenOf } from "./key-description.ts";
import { manifestSchema } from "./manifest-schema.ts";
import { parseManifest } from "./parse-manifest.ts";
import { manifestReferencePage } from "./reference-page.ts";
import type { SchemaNode } from "./schema-node.ts";

const root = new URL("../../../", import.meta.url);
const stored = (path: string) => readFileSync(new URL(path, root), "utf8");
const REMEDY = "run npm run generate";

it("the published JSON Schema is the one that follows from the schema", () => {
  const published = JSON.parse(stored("packages/manifest/hms-manifest.schema.json"));
  expect(JSON.stringify(published), REMEDY).toBe(JSON.stringify(manifestJsonSchema()));
});

it("the reference page is the one that follows from the schema", () => {
  expect(stored("docs/guide/manifest.md"), REMEDY).toBe(manifestReferencePage());
});

it("every manifest on the reference page can be read", () => {
  const blocks = [...manifestReferencePage().matchAll(/```yaml\n(.*?)```/gs)].map(([, block = ""]) => block);
  const manifests = blocks.filter((block) => block.startsWith("name:"));
  expect(manifests).toHaveLength(2);
  for (const manifest of manifests) parseManifest(manifest, { resolveEnv: () => "x" });
});

it("every manifest in the guide to the first deploy can be read", () => {
  const blocks = [...stored("docs/guide/first-deploy.md").matchAll(/```yaml\n(.*?)```/gs)].map(
    ([, block = ""]) => block,
  );
  expect(blocks).toHaveLength(3);
  for (const block of blocks) {
    const missing = { name: "name: a\n", run: "run: {command: x}\n" };
    const rest = Object.entries(missing).map(([key, line]) => (new RegExp(`^${key}:`, "m").test(block) ? "" : line));
    parseManifest(block + rest.join(""), { resolveEnv: () => "x" });
  }
});

it.each(["examples/receipt/receipt.hms.yml", "examples/payment/payment.hms.yml"])("%s can be read", (path) => {
  const text = stored(path);
  expect(parseManifest(text).name).toMatch(/-svc$/);
  const named = /^# yaml-language-server: \$schema=(.*)$/m.exec(text)?.[1] ?? "";
  expect(JSON.parse(readFileSync(new URL(named, new URL(path, root)), "utf8")).$id).toBe("urn:hms-sys:manifest");
});

describe("every key of the schema", () => {
  const keys = (key: string, node: SchemaNode): [string, SchemaNode][] =>
    childrenOf(key, node).flatMap(([path, child]) => [[path, child] as [string, SchemaNode], ...keys(path, child)]);

  it.each(keys("", manifestSchema))("%s says what it does, and its limits and default fit each other", (_, node) => {
    expect(node.description).toMatch(/^[A-Z$/].*\.$/s);
    if (node.kind !== "duration" && node.kind !== "memory" && node.kind !== "cpu") return;
    const [min, max] = [parseAmount(node.kind, node.min), parseAmount(node.kind, node.max)];
    const usual = node.default === undefined ? min : parseAmount(node.kind, node.default);
    expect(min).toBeLessThanOrEqual(usual ?? Number.NaN);
    expect(usual).toBeLessThanOrEqual(max ?? Number.NaN);
  });
});
