import { readFileSync } from "node:fs";
import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import { permissionOf, platformServices } from "@hms/authorization";
import { expect, test } from "vitest";

const page = readFileSync(new URL("../../docs/security/fields.md", import.meta.url), "utf8");
const [byField = "", whole = ""] = page.split("\nWhat follows is read whole");
const cellsOf = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.slice(2, -2).split(" | "));
const named = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? "");

const rows = cellsOf(byField).map(([of, fields, read, written]) => ({
  of: named(of)[0] ?? "",
  fields: named(fields),
  read,
  writers: named(written),
}));
const listed = new Set(rows.map(({ of }) => of));

const methods = platformServices().flatMap((service) => service.methods);
const nameOf = ({ parent, name }: DescMethod) => `${parent.name}/${name}`;

/** Every message of ours that answers hold, with the permissions of the methods that answer with it. */
const answered = new Map<string, { message: DescMessage; read: Set<string> }>();
function visit(message: DescMessage, permission: string): void {
  for (const { message: inner } of message.fields) {
    if (!inner?.typeName.startsWith("hms.")) continue;
    const found = answered.get(inner.name) ?? { message: inner, read: new Set<string>() };
    answered.set(inner.name, found);
    if (found.read.has(permission)) continue;
    found.read.add(permission);
    visit(inner, permission);
  }
}
for (const method of methods) visit(method.output, permissionOf(method) ?? "");

test("every message that is answered is in one of the tables, once", () => {
  const inWhole = cellsOf(whole).flatMap(([, messages]) => named(messages));
  expect([...listed, ...inWhole].sort()).toEqual([...answered.keys()].sort());
});

test.each([...listed])("every field of %s has one line, with those who may read it", (of) => {
  const { message, read } = answered.get(of) ?? {};
  const own = rows.filter((row) => row.of === of);
  expect(own.flatMap(({ fields }) => fields).sort()).toEqual(message?.fields.map(({ name }) => name).sort());
  for (const row of own) expect(row.read?.split(", ").sort()).toEqual([...(read ?? [])].sort());
});

/** What a request may set: its own fields, and those of a message of this kind within it. */
const settable = ({ input }: DescMethod, of: string): string[] =>
  input.fields.flatMap(({ name, message }) =>
    message?.name === of ? message.fields.map((field) => field.name) : name,
  );

test.each([...listed])("no request writes a field of %s that its lines do not name the method for", (of) => {
  const own = rows.filter((row) => row.of === of);
  const writers = methods.filter((method) => own.some((row) => row.writers.includes(nameOf(method))));
  expect(new Set(writers.map(nameOf))).toEqual(new Set(own.flatMap((row) => row.writers)));
  for (const method of writers) {
    for (const { fields, writers: named_ } of own) {
      const set = settable(method, of).filter((field) => fields.includes(field));
      // A name says which one is meant; what a caller says of who wrote a policy is not taken.
      const meant = set.filter((field) => !/^(?:name|\w+_id|author|changed_at|from_file)$/.test(field));
      if (!named_.includes(nameOf(method))) expect([nameOf(method), meant]).toEqual([nameOf(method), []]);
    }
  }
});
