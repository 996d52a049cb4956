import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_JsonFormat,
  FeatureSet_MessageEncoding,
  FeatureSet_Utf8Validation,
  type FieldDescriptorProto,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FileOptionsSchema,
  FieldDescriptorProto_Label as Label,
  MethodOptions_IdempotencyLevel,
  MethodOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { Random } from "./random.ts";
import { defaultTexts, jsonName, randomEnum, scalarField, scalarTypes } from "./random-file.ts";

type Mutation = (file: FileDescriptorProto, random: Random) => void;

const isPlain = ({ type, label, options }: FieldDescriptorProto) =>
  type !== Type.MESSAGE && type !== Type.ENUM && label !== Label.REPEATED && options === undefined;

function pickField(file: FileDescriptorProto, random: Random, fits: (field: FieldDescriptorProto) => boolean) {
  const message = random.pick(file.messageType);
  const field = random.pick(message.field.filter(fits));
  return { message, field };
}

function removeField(message: DescriptorProto, field: FieldDescriptorProto): void {
  message.field = message.field.filter((one) => one !== field);
  if (field.label === Label.REPEATED && field.typeName.endsWith("Entry")) message.nestedType = [];
  if (!message.field.some(({ oneofIndex, name }) => name.startsWith("one_") && oneofIndex === 0))
    message.oneofDecl = [];
}

function reserveField(message: DescriptorProto, { name, number }: FieldDescriptorProto, what: string): void {
  if (what !== "name") {
    const range = { start: number, end: number + 1 };
    message.reservedRange.push(...create(DescriptorProtoSchema, { reservedRange: [range] }).reservedRange);
  }
  if (what !== "number") message.reservedName.push(name);
}

const fieldMutations: Mutation[] = [
  (file, random) => {
    const { message, field } = pickField(file, random, () => true);
    removeField(message, field);
    const what = random.pick(["nothing", "name", "number", "both"]);
    if (what !== "nothing") reserveField(message, field, what);
  },
  (file, random) => {
    const { field } = pickField(file, random, ({ name }) => !name.startsWith("labels") && !name.startsWith("one_"));
    field.name = `${field.name}_renamed`;
    if (random.chance(0.5)) field.jsonName = jsonName(field.name);
  },
  (file, random) => {
    const { field } = pickField(file, random, () => true);
    field.jsonName = `${field.jsonName}Other`;
  },
  (file, random) => {
    const { field } = pickField(file, random, isPlain);
    field.type = random.pick(scalarTypes);
    const texts = defaultTexts[field.type];
    if (field.defaultValue !== "" && texts) field.defaultValue = random.pick(texts);
    else if (field.defaultValue !== "") field.defaultValue = undefined as never;
  },
  (file, random) => {
    const { field } = pickField(file, random, (one) => isPlain(one) && one.defaultValue === "");
    Object.assign(field, { type: Type.MESSAGE, typeName: `.${file.package}.${random.pick(file.messageType).name}` });
  },
  (file, random) => {
    const { field } = pickField(file, random, (one) => isPlain(one) && one.defaultValue === "");
    Object.assign(field, { type: Type.ENUM, typeName: `.${file.package}.Shape` });
  },
  (file, random) => {
    const { field } = pickField(file, random, ({ type, defaultValue }) => type === Type.ENUM && defaultValue === "");
    field.typeName = `.${file.package}.Shape`;
  },
  (file, random) => {
    const plain = (field: FieldDescriptorProto) =>
      isPlain(field) && field.defaultValue === "" && !field.name.startsWith("one_");
    const { field } = pickField(file, random, plain);
    field.label = Label.REPEATED;
  },
  (file, random) => {
    const { field } = pickField(file, random, ({ label, typeName }) => label === Label.REPEATED && typeName === "");
    field.label = Label.OPTIONAL;
  },
  (file, random) => {
    if (file.syntax !== "proto2") return;
    const { field } = pickField(
      file,
      random,
      ({ label, name }) => label !== Label.REPEATED && !name.startsWith("one_"),
    );
    field.label = field.label === Label.REQUIRED ? Label.OPTIONAL : Label.REQUIRED;
  },
  (file, random) => {
    const message = random.pick(file.messageType.filter(({ oneofDecl }) => oneofDecl.length > 0));
    const inside = message.field.filter(({ name }) => name === "one_b")[0];
    if (inside && random.chance(0.5)) inside.oneofIndex = undefined as never;
    else (message.oneofDecl[0] as { name: string }).name = "other_choice";
  },
  (file, random) => {
    const message = random.pick(file.messageType.filter(({ oneofDecl }) => oneofDecl.length > 0));
    const outside = message.field.filter(
      (field) => isPlain(field) && field.label === Label.OPTIONAL && !field.name.startsWith("one_"),
    );
    const moved = random.pick(outside);
    moved.oneofIndex = 0;
    // The fields of a oneof stand together.
    const others = message.field.filter((field) => field !== moved);
    const place = others.findIndex(({ name }) => name.startsWith("one_"));
    message.field = [...others.slice(0, place), moved, ...others.slice(place)];
  },
  (file, random) => {
    if (file.syntax === "proto3") return;
    const { field } = pickField(file, random, ({ type, label }) => label === Label.OPTIONAL && type in defaultTexts);
    field.defaultValue = random.pick(defaultTexts[field.type] ?? []);
  },
  (file, random) => {
    if (file.syntax !== "proto3") return;
    const { message, field } = pickField(file, random, (one) => isPlain(one) && !one.name.startsWith("one_"));
    const { oneofDecl } = create(DescriptorProtoSchema, { oneofDecl: [{ name: `_${field.name}` }] });
    message.oneofDecl.push(...oneofDecl);
    Object.assign(field, { proto3Optional: true, oneofIndex: message.oneofDecl.length - 1 });
  },
  (file, random) => {
    const message = random.pick(file.messageType);
    const number = 80 + random.below(5);
    if (message.field.some((field) => field.number === number)) return;
    message.field.push(scalarField(`added_${number}`, number, random.pick(scalarTypes)));
  },
  (file, random) => {
    const { field } = pickField(file, random, ({ type }) => type === Type.INT64 || type === Type.UINT64);
    field.options = create(FieldOptionsSchema, { jstype: 1 });
  },
  (file, random) => {
    const map = random.pick(file.messageType.filter(({ nestedType }) => nestedType.length > 0));
    const value = map.nestedType[0]?.field[1];
    if (value) value.type = random.pick(scalarTypes);
  },
];

function pickEnum(file: FileDescriptorProto, random: Random): EnumDescriptorProto {
  return random.pick([...file.enumType, ...file.messageType.flatMap(({ enumType }) => enumType)]);
}

const enumMutations: Mutation[] = [
  (file, random) => {
    const one = pickEnum(file, random);
    const value = one.value.pop();
    if (one.value.length === 0 || value === undefined) throw new Error("An enum keeps a value.");
    const what = random.pick(["nothing", "name", "number", "both"]);
    if (what === "name" || what === "both") one.reservedName.push(value.name);
    const { reservedRange } = create(EnumDescriptorProtoSchema, {
      reservedRange: [{ start: value.number, end: value.number }],
    });
    if (what === "number" || what === "both") one.reservedRange.push(...reservedRange);
  },
  (file, random) => {
    const value = random.pick(pickEnum(file, random).value);
    value.name = `${value.name}_RENAMED`;
  },
  (file, random) => {
    const one = pickEnum(file, random);
    const { value } = create(EnumDescriptorProtoSchema, { value: [{ name: `${one.name}_ADDED`, number: 10 }] });
    if (!one.value.some(({ number }) => number === 10)) one.value.push(...value);
  },
  (file, random) => {
    const one = pickEnum(file, random);
    one.reservedRange = one.reservedRange.slice(1);
    one.reservedName = random.chance(0.5) ? [] : one.reservedName;
  },
  (file, random) => {
    const one = pickEnum(file, random);
    const range = one.reservedRange[0];
    if (range) range.start += 2;
  },
];

const messageMutations: Mutation[] = [
  (file, random) => {
    const message = random.pick(file.messageType);
    message.reservedRange = message.reservedRange.slice(1);
  },
  (file, random) => {
    const message = random.pick(file.messageType);
    message.reservedName = message.reservedName.slice(1);
  },
  (file, random) => {
    const [range] = random.pick(file.messageType).reservedRange;
    if (range && range.start === 60) Object.assign(range, random.chance(0.5) ? { start: 62 } : { end: 63 });
  },
  (file, random) => {
    const [range] = random.pick(
      file.messageType.filter(({ extensionRange }) => extensionRange.length > 0),
    ).extensionRange;
    if (range) range.start += 5;
  },
  (file) => {
    file.messageType.push(create(DescriptorProtoSchema, { name: "Unused" }));
  },
  (file, random) => {
    const used = JSON.stringify([file.service, file.messageType.map(({ field }) => field), file.extension]);
    const unused = file.messageType.filter(({ name }) => !used.includes(`.${file.package}.${name}"`));
    const victim = random.pick(unused);
    file.messageType = file.messageType.filter((one) => one !== victim);
  },
  (file) => {
    const used = JSON.stringify(file.messageType.map(({ field }) => field));
    if (!used.includes(".Shape")) file.enumType = file.enumType.filter(({ name }) => name !== "Shape");
  },
  (file) => {
    file.extension = [];
  },
  (file, random) => {
    const extension = random.pick(file.extension);
    if (random.chance(0.5)) Object.assign(extension, { name: "extra_renamed", jsonName: "extraRenamed" });
    else extension.type = random.pick(scalarTypes);
  },
];

const serviceMutations: Mutation[] = [
  (file) => {
    file.service[0]?.method.pop();
  },
  (file) => {
    file.service = [];
  },
  (file, random) => {
    const method = random.pick(file.service[0]?.method ?? []);
    method.serverStreaming = !method.serverStreaming;
  },
  (file, random) => {
    const method = random.pick(file.service[0]?.method ?? []);
    method.clientStreaming = !method.clientStreaming;
  },
  (file, random) => {
    const method = random.pick(file.service[0]?.method ?? []);
    const other = `.${file.package}.${random.pick(file.messageType).name}`;
    Object.assign(method, random.chance(0.5) ? { inputType: other } : { outputType: other });
  },
  (file, random) => {
    const method = random.pick(file.service[0]?.method ?? []);
    const idempotencyLevel = random.pick([MethodOptions_IdempotencyLevel.IDEMPOTENT, 1]);
    method.options = create(MethodOptionsSchema, { idempotencyLevel });
  },
];

const featureChoices = [
  { jsonFormat: FeatureSet_JsonFormat.LEGACY_BEST_EFFORT },
  { enumType: FeatureSet_EnumType.CLOSED },
  { fieldPresence: FeatureSet_FieldPresence.IMPLICIT },
  { messageEncoding: FeatureSet_MessageEncoding.DELIMITED },
  { utf8Validation: FeatureSet_Utf8Validation.NONE },
];

const fileMutations: Mutation[] = [
  (file, random) => {
    const init = random.pick([
      { goPackage: "example/a" },
      { phpNamespace: "A" },
      { javaMultipleFiles: true },
      { optimizeFor: 2 },
      { rubyPackage: "A" },
    ]);
    file.options = create(FileOptionsSchema, init);
  },
  (file, random) => {
    if (file.syntax !== "editions") return;
    const features = random.pick(featureChoices);
    // Fields without presence have no defaults and no closed enums.
    if ("fieldPresence" in features && JSON.stringify(file.messageType).includes('"defaultValue"')) return;
    file.options = create(FileOptionsSchema, { features });
  },
  (file, random) => {
    if (file.syntax !== "editions") return;
    const { field } = pickField(file, random, ({ type, label }) => type === Type.MESSAGE && label === Label.OPTIONAL);
    const features = { messageEncoding: FeatureSet_MessageEncoding.DELIMITED };
    field.options = create(FieldOptionsSchema, { features });
  },
  (file, random) => {
    if (file.syntax !== "editions") return;
    const { field } = pickField(file, random, (one) => isPlain(one) && !one.name.startsWith("one_"));
    field.options = create(FieldOptionsSchema, {
      features: { fieldPresence: FeatureSet_FieldPresence.LEGACY_REQUIRED },
    });
  },
  (file, random) => {
    file.enumType.push(randomEnum(random, "Fresh"));
  },
];

const groups = [
  fieldMutations,
  fieldMutations,
  fieldMutations,
  enumMutations,
  messageMutations,
  serviceMutations,
  fileMutations,
];

/** Changes a file in one random way that keeps it a valid contract; some ways do not fit and change nothing. */
export function mutate(file: FileDescriptorProto, random: Random): void {
  try {
    random.pick(random.pick(groups))(file, random);
  } catch {
    // Nothing to pick from: this file has no such thing.
  }
}
