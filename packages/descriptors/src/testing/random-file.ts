import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  Edition,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  MethodDescriptorProtoSchema,
  ServiceDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { Random } from "./random.ts";

/** Types that a field of a random contract may have, messages and enums aside. */
export const scalarTypes = [
  Type.DOUBLE,
  Type.FLOAT,
  Type.INT64,
  Type.UINT64,
  Type.INT32,
  Type.FIXED64,
  Type.FIXED32,
  Type.BOOL,
  Type.STRING,
  Type.BYTES,
  Type.UINT32,
  Type.SFIXED32,
  Type.SFIXED64,
  Type.SINT32,
  Type.SINT64,
] as const;

/** What a default may be, by type. */
export const defaultTexts: Partial<Record<Type, readonly string[]>> = {
  [Type.INT32]: ["0", "1", "-7"],
  [Type.INT64]: ["0", "1", "9007199254740993"],
  [Type.UINT64]: ["0", "1", "18446744073709551615"],
  [Type.DOUBLE]: ["0", "0.1", "1", "inf", "nan"],
  [Type.FLOAT]: ["0", "0.1", "1", "-inf"],
  [Type.BOOL]: ["true", "false"],
  [Type.STRING]: ["a", "b"],
  [Type.BYTES]: ["a", "b"],
};

/** Makes a field of a scalar type. */
export function scalarField(name: string, number: number, type: Type): FieldDescriptorProto {
  return create(FieldDescriptorProtoSchema, { name, number, label: Label.OPTIONAL, type, jsonName: jsonName(name) });
}

/** protoc's JSON name of a field. */
export function jsonName(name: string): string {
  return name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Makes an enum whose values carry its name, as their scope is the same for all. */
export function randomEnum(random: Random, name: string): EnumDescriptorProto {
  const value = Array.from({ length: 2 + random.below(3) }, (_, number) => ({ name: `${name}_V${number}`, number }));
  const reserved = random.chance(0.4);
  return create(EnumDescriptorProtoSchema, {
    name,
    value,
    reservedName: reserved ? [`${name}_OLD`] : [],
    reservedRange: reserved ? [{ start: 20, end: 25 }] : [],
  });
}

function addMap(message: DescriptorProto, owner: string, valueType: Type): void {
  const entry = create(DescriptorProtoSchema, { name: `Labels${message.name}Entry`, options: { mapEntry: true } });
  entry.field.push(scalarField("key", 1, Type.STRING), scalarField("value", 2, valueType));
  message.nestedType.push(entry);
  const field = scalarField(`labels_${message.name.toLowerCase()}`, 30, Type.MESSAGE);
  message.field.push(Object.assign(field, { label: Label.REPEATED, typeName: `${owner}.${entry.name}` }));
}

function addOneof(message: DescriptorProto): void {
  message.oneofDecl.push(create(DescriptorProtoSchema, { oneofDecl: [{ name: "choice" }] }).oneofDecl[0] as never);
  for (const [index, name] of ["one_a", "one_b"].entries()) {
    message.field.push(Object.assign(scalarField(name, 40 + index, Type.STRING), { oneofIndex: 0 }));
  }
}

function randomMessage(random: Random, name: string, file: FileDescriptorProto): DescriptorProto {
  const message = create(DescriptorProtoSchema, { name });
  const owner = `.${file.package}.${name}`;
  const count = 2 + random.below(4);
  for (let index = 0; index < count; index += 1) {
    const field = scalarField(`field_${index}`, index + 1, random.pick(scalarTypes));
    if (random.chance(0.2)) field.label = Label.REPEATED;
    else if (file.syntax === "proto2" && random.chance(0.15)) field.label = Label.REQUIRED;
    const texts = defaultTexts[field.type];
    if (file.syntax !== "proto3" && field.label === Label.OPTIONAL && texts && random.chance(0.5)) {
      field.defaultValue = random.pick(texts);
    }
    message.field.push(field);
  }
  if (random.chance(0.4)) addMap(message, owner, random.pick(scalarTypes));
  if (random.chance(0.4)) addOneof(message);
  if (random.chance(0.4)) {
    message.enumType.push(randomEnum(random, `${name}Kind`));
    const field = scalarField("kind", 50, Type.ENUM);
    message.field.push(Object.assign(field, { typeName: `${owner}.${name}Kind` }));
  }
  if (random.chance(0.4)) {
    message.reservedRange.push(
      ...create(DescriptorProtoSchema, {
        reservedRange: [
          { start: 60, end: 65 },
          { start: 70, end: 71 },
        ],
      }).reservedRange,
    );
    message.reservedName.push("gone", "lost");
  }
  if (file.syntax === "proto2" && random.chance(0.5)) {
    message.extensionRange.push(
      ...create(DescriptorProtoSchema, { extensionRange: [{ start: 100, end: 200 }] }).extensionRange,
    );
  }
  return message;
}

/** Makes a file of some messages, enums, a service and perhaps an extension. */
export function randomFile(random: Random, name: string): FileDescriptorProto {
  const syntax = random.pick(["proto2", "proto3", "proto3", "editions"]);
  const file = create(FileDescriptorProtoSchema, { name: `${name}.proto`, package: `${name}.v1`, syntax });
  if (syntax === "editions") file.edition = Edition.EDITION_2023;
  const names = ["Alpha", "Beta", "Gamma", "Delta"].slice(0, 2 + random.below(3));
  for (const one of names) file.messageType.push(randomMessage(random, one, file));
  for (const one of ["Color", "Shape"]) file.enumType.push(randomEnum(random, one));
  for (const message of file.messageType) {
    if (random.chance(0.5)) {
      const other = scalarField("other", 51, Type.MESSAGE);
      message.field.push(Object.assign(other, { typeName: `.${file.package}.${random.pick(names)}` }));
    }
    if (random.chance(0.5)) {
      const color = scalarField("color", 52, Type.ENUM);
      message.field.push(Object.assign(color, { typeName: `.${file.package}.Color` }));
    }
  }
  const open = file.messageType.find(({ extensionRange }) => extensionRange.length > 0);
  if (open) {
    const extension = scalarField("extra", 120, random.pick(scalarTypes));
    file.extension.push(Object.assign(extension, { extendee: `.${file.package}.${open.name}` }));
  }
  const method = ["Get", "Put", "Watch"].map((one) =>
    create(MethodDescriptorProtoSchema, {
      name: one,
      inputType: `.${file.package}.${random.pick(names)}`,
      outputType: `.${file.package}.${random.pick(names)}`,
      serverStreaming: one === "Watch",
    }),
  );
  file.service.push(create(ServiceDescriptorProtoSchema, { name: "ThingService", method }));
  return file;
}
