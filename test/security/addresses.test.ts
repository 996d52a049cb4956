import { existsSync, readFileSync } from "node:fs";
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { platformServices } from "@hms/authorization";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

/** Words of names of what could be connected to, or sends a browser somewhere. */
const ADDRESS_WORDS = new Set(
  ["url", "uri", "address", "host", "hostname", "link", "endpoint", "proxy", "issuer", "origin", "callback", "webhook"]
    .concat(["peer", "schema", "source", "redirect", "location", "destination", "upstream", "registry", "directory"])
    .concat(["server", "referer", "domain", "site", "homepage", "logo", "image", "href", "target", "sink", "mirror"])
    .flatMap((word) => [word, `${word}s`, `${word}es`]),
);
/** "endpoint_id" is an id. */
const NO_ADDRESS = /_(id|ids|name|names|code|kind|count|port|sha256|bytes|ms)$/;

const isAddressLike = (name: string) =>
  !NO_ADDRESS.test(name) && name.split("_").some((word) => ADDRESS_WORDS.has(word));

/** Text can lead somewhere, and so can messages and maps of it; numbers and switches cannot. */
function canHoldText(field: DescField): boolean {
  const scalar = "scalar" in field ? field.scalar : undefined;
  return field.fieldKind !== "enum" && (scalar === undefined || scalar === ScalarType.STRING);
}

function contractFields(): string[] {
  const seen = new Set<DescMessage>();
  const found: string[] = [];
  const visit = (message: DescMessage) => {
    if (seen.has(message)) return;
    seen.add(message);
    for (const field of message.fields) {
      if (isAddressLike(field.name) && canHoldText(field)) found.push(`${message.name}.${field.name}`);
      if (field.message) visit(field.message);
    }
  };
  for (const { methods } of platformServices()) {
    for (const { input, output } of methods) {
      visit(input);
      visit(output);
    }
  }
  return found;
}

type Schema = { [key: string]: unknown; properties?: Record<string, Schema>; type?: unknown };

/** Keys of manifests as "routes.deprecation_link"; of types other than text none. */
function manifestKeys(schema: unknown, path: readonly string[] = []): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const { properties = {}, ...others } = schema as Schema;
  const own = Object.entries(properties).flatMap(([key, value]) => {
    const here = [...path, key];
    const isText =
      value.type === undefined || [value.type].flat().some((type) => type !== "boolean" && type !== "integer");
    return [...(isAddressLike(key) && isText ? [`manifest ${here.join(".")}`] : []), ...manifestKeys(value, here)];
  });
  return [...own, ...Object.values(others).flatMap((value) => manifestKeys(value, path))];
}

/** Cells of every table row of the page. */
const rows = read("docs/security/addresses.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| What") && !line.startsWith("| Field"))
  .map((line) =>
    line
      .slice(1, -1)
      .split(" | ")
      .map((cell) => cell.trim()),
  );
const named = (row: readonly string[]) => [...(row[0] ?? "").matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
const onPage = new Set(rows.flatMap(named));

test("every field of a contract or manifest that looks like an address stands on the page, with what becomes of it", () => {
  const fields = [
    ...new Set([...contractFields(), ...manifestKeys(JSON.parse(read("packages/manifest/hms-manifest.schema.json")))]),
  ];
  expect(fields).toEqual(expect.arrayContaining(["Endpoint.host", "Event.data_schema", "MeshAccess.dns_address"]));
  expect(fields.filter((field) => !onPage.has(field)).sort()).toEqual([]);
  const incomplete = rows.filter((row) => row.length < 3 || row.slice(0, 3).some((cell) => cell === ""));
  expect(incomplete).toEqual([]);
});

test("the page names no field that there is not, and tests that are there", () => {
  const fields = new Set(contractFields());
  const gone = [...onPage].filter((name) => /^[A-Z][A-Za-z]+\.[a-z_]+$/.test(name) && !fields.has(name));
  expect(gone).toEqual([]);
  const tests = rows.flatMap(([, , , shown = ""]) =>
    [...shown.matchAll(/`([^`]+\.ts)`/g)].map(([, path = ""]) => path),
  );
  expect(tests.filter((path) => !existsSync(new URL(path, root)))).toEqual([]);
});
