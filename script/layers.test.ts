import { globSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";

/** From the bottom up; a package may depend on lower layers only, platform packages also on their peers. */
const order = ["contracts", "kernel", "platform", "sdk", "service", "provider", "app"];

interface PackageManifest {
  name: string;
  hms?: { layer: string };
  dependencies?: Record<string, string>;
}

const manifests = globSync("{packages,services,providers,apps,sdks}/*/package.json").map((file) => ({
  folder: dirname(file),
  manifest: JSON.parse(readFileSync(file, "utf8")) as PackageManifest,
}));
const layers = new Map(manifests.map(({ manifest }) => [manifest.name, manifest.hms?.layer ?? ""]));

function mayUse(from: string, to: string): boolean {
  return order.indexOf(to) < order.indexOf(from) || (from === "platform" && to === "platform");
}

describe.each(manifests)("$folder", ({ manifest, folder }) => {
  const layer = manifest.hms?.layer ?? "";

  test("names its layer", () => {
    expect(order).toContain(layer);
  });

  test("depends on lower layers only: call a service by its contract, not by its code", () => {
    const own = Object.keys(manifest.dependencies ?? {}).filter((name) => layers.has(name));
    const wrong = own.filter((name) => !mayUse(layer, layers.get(name) ?? ""));
    expect(wrong).toEqual([]);
  });

  test("sees of a service only its ports, if it is a provider", () => {
    if (layer !== "provider") return;
    const imports = globSync(`${folder}/src/**/*.ts`).flatMap((file) => [
      ...readFileSync(file, "utf8").matchAll(/from "(@hms\/service-[^"]+)"/g),
    ]);
    const wrong = imports.map((match) => match[1] ?? "").filter((name) => !name.endsWith("/ports"));
    expect(wrong).toEqual([]);
  });
});
