import { createHash } from "node:crypto";
import { type DescMessage, type FileRegistry, type Message, toBinary } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import {
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  FieldOptionsSchema,
  MessageOptionsSchema,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import {
  ContractIndex,
  fieldsOf,
  type IndexedEnum,
  type IndexedField,
  type IndexedMessage,
  type IndexedService,
  typeNameOf,
} from "./contract-index.ts";
import { cardinalityOf, defaultOf, isInOneof, kindOf } from "./field-shape.ts";

/** Something that JSON.stringify writes in one way only. */
type Canonical = string | number | boolean | null | Canonical[];

function optionText(schema: DescMessage, options: Message | undefined): string {
  return options === undefined ? "" : Buffer.from(toBinary(schema, options)).toString("base64");
}

const byFirst = (a: Canonical[], b: Canonical[]) => ((a[0] as number | string) < (b[0] as number | string) ? -1 : 1);
const ranges = (all: readonly { start: number; end: number }[]) =>
  all.map(({ start, end }) => [start, end]).sort(byFirst);

function fieldFacts(field: IndexedField, index: ContractIndex, owner?: IndexedMessage): Canonical[] {
  const { proto } = field;
  const absent = defaultOf(field, index);
  return [
    proto.number,
    proto.name,
    field.extension ? "" : proto.jsonName || protoCamelCase(proto.name),
    kindOf(field, index),
    typeNameOf(proto.typeName),
    cardinalityOf(field, index),
    isInOneof(proto) ? (owner?.proto.oneofDecl[proto.oneofIndex]?.name ?? "") : "",
    absent === undefined ? "" : String(absent),
    optionText(FieldOptionsSchema, proto.options),
  ];
}

function messageFacts(message: IndexedMessage, index: ContractIndex): Canonical[] {
  const { proto } = message;
  return [
    message.name,
    [...fieldsOf(message).values()].map((field) => fieldFacts(field, index, message)).sort(byFirst),
    ranges(proto.reservedRange),
    [...proto.reservedName].sort(),
    ranges(proto.extensionRange),
    optionText(MessageOptionsSchema, proto.options),
  ];
}

function enumFacts({ name, proto, features }: IndexedEnum): Canonical[] {
  const values = proto.value.map((one) => [one.name, one.number, optionText(EnumValueOptionsSchema, one.options)]);
  return [
    name,
    // The first value is what an absent one reads as.
    proto.value[0]?.number ?? 0,
    values.sort(byFirst),
    ranges(proto.reservedRange),
    [...proto.reservedName].sort(),
    features.enumType,
    optionText(EnumOptionsSchema, proto.options),
  ];
}

function serviceFacts({ name, methods }: IndexedService): Canonical[] {
  const all = [...methods.values()].map((method) => [
    method.name,
    typeNameOf(method.inputType),
    typeNameOf(method.outputType),
    method.clientStreaming,
    method.serverStreaming,
    optionText(MethodOptionsSchema, method.options),
  ]);
  return [name, all.sort(byFirst)];
}

/** Whatever in the index is named in the files. */
function within<T extends { file: { name: string } }>(all: Iterable<T>, files: ReadonlySet<string>): T[] {
  return [...all].filter(({ file }) => files.has(file.name));
}

/** The files of a package and those whose types they use; what is imported for its options alone is not among them. */
function usedFiles(index: ContractIndex, packageName: string): Set<string> {
  const home = new Map<string, string>();
  const uses = new Map<string, Set<string>>();
  const use = (file: string, type: string) => {
    const all = uses.get(file) ?? new Set<string>();
    uses.set(file, all.add(typeNameOf(type)));
  };
  for (const one of [...index.messages.values(), ...index.enums.values()]) home.set(one.name, one.file.name);
  for (const { proto, file } of index.messages.values())
    for (const { typeName } of proto.field) use(file.name, typeName);
  for (const { proto, file } of index.extensions.values()) use(file.name, proto.typeName);
  for (const { methods, file } of index.services.values()) {
    for (const { inputType, outputType } of methods.values()) {
      use(file.name, inputType);
      use(file.name, outputType);
    }
  }
  const used = new Set(
    [...index.files.values()].filter((file) => file.package === packageName).map(({ name }) => name),
  );
  for (const file of used) {
    for (const type of uses.get(file) ?? []) {
      const place = home.get(type);
      if (place !== undefined) used.add(place);
    }
  }
  return used;
}

/**
 * Identifies what a contract says: 64 hexadecimal digits (SHA-256). The order and names of files, comments, imports that
 * nothing is used from, and how a toolchain spells defaults do not matter.
 */
export function contractDigest(registry: FileRegistry, packageName: string): string {
  const index = new ContractIndex(registry);
  const files = usedFiles(index, packageName);
  const facts: Canonical[] = [
    within(index.services.values(), files).map(serviceFacts).sort(byFirst),
    within(index.messages.values(), files)
      .map((message) => messageFacts(message, index))
      .sort(byFirst),
    within(index.enums.values(), files).map(enumFacts).sort(byFirst),
    within(index.extensions.values(), files)
      .map((field) => [field.name, typeNameOf(field.proto.extendee), fieldFacts(field, index)])
      .sort(byFirst),
  ];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}
