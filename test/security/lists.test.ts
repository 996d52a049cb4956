import type { DescField, DescMethod } from "@bufbuild/protobuf";
import { platformServices } from "@hms/authorization";
import { expect, test } from "vitest";
import { listRows } from "./list-rows.ts";
import { problemOf } from "./shown-by.ts";

const rows = listRows();

function holdsMessages(field: DescField): boolean {
  return (
    (field.fieldKind === "list" && field.listKind === "message") ||
    (field.fieldKind === "map" && field.mapKind === "message")
  );
}

/** Whether a method answers with several things. */
function answersWithMany({ methodKind, output, name }: DescMethod): boolean {
  const isStream = methodKind === "server_streaming" || methodKind === "bidi_streaming";
  return isStream || /^(List|Search|Export)/.test(name) || output.fields.some(holdsMessages);
}

const many = platformServices()
  .flatMap(({ methods }) => methods)
  .filter(answersWithMany)
  .map(({ parent, name }) => `${parent.typeName}/${name}`);

test("every method that answers with many things has one line: it filters them, or says why not", () => {
  expect(rows.map(({ method }) => method).sort()).toEqual([...many].sort());
});

test("every line is filtered, shown by a test that is there, or whole for a reason", () => {
  const problem = ({ thing, state }: (typeof rows)[number]) => {
    if (/^whole: .{10,}/.test(state)) return thing === "" ? undefined : "is whole, and has things";
    if (thing === "") return "does not say what a row is";
    return state === "filtered" ? undefined : problemOf(state);
  };
  expect(rows.map((row) => [row.method, problem(row)]).filter(([, wrong]) => wrong)).toEqual([]);
});

test("what is called a list is not whole, unless it is of one thing or of what is no secret", () => {
  const lists = rows.filter(({ method, state }) => /\/(List|Search)/.test(method) && state.startsWith("whole"));
  expect(lists.map(({ method }) => method)).toEqual([
    "hms.sys.deployment.v1.DeploymentService/ListRollouts",
    "hms.identity.v1.SigningKeyService/ListSigningKeys",
  ]);
});
