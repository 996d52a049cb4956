import { create, setExtension } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  OneofDescriptorProtoSchema,
  OneofOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { validate } from "@hms/contracts";
import { type ContractIndex, typeNameOf } from "./contract-index.ts";
import { isInOneof } from "./field-shape.ts";
import type { SchemaProblems } from "./json-schema.ts";
import { continueEnum, NumberSeries } from "./number-series.ts";
import { integerType } from "./schema-integer.ts";
import { fieldNameOf, isIdentifier, mapEntryName, NameScope, pascalCase, screamingCase } from "./schema-naming.ts";
import { writeFieldRules } from "./schema-rules.ts";
import type { SchemaProperty, SchemaShape, ShapeReader } from "./schema-shape.ts";

const MOST_FIELDS = 5000;
const MOST_NESTED = 32;

/** What of a schema its messages cannot say, by the full name of the field. */
export interface SchemaNote {
  readonly subject: string;
  /** A sentence. */
  readonly text: string;
}

/** What the messages of one schema are made with. */
export interface MessageSource {
  readonly reader: ShapeReader;
  readonly problems: SchemaProblems;
  /** The contract before, whose numbers and names are kept. */
  readonly previous: ContractIndex | undefined;
  readonly notes: SchemaNote[];
  /** Descriptions of messages and fields, for comments. */
  readonly descriptions: Map<object, string>;
}

type MessageShape = SchemaShape & { kind: "message" };

/** A message as it is made. */
interface Draft {
  readonly proto: DescriptorProto;
  readonly fullName: string;
  readonly scope: NameScope;
  readonly depth: number;
  /** The fields before, by their name in JSON. */
  readonly before: ReadonlyMap<string, FieldDescriptorProto>;
}

/** The type of a value in a field. */
interface ValueType {
  type: Type;
  typeName?: string;
}

/** What a type is named for. */
interface TypeOrigin {
  /** The full name that the property's type had. */
  before: string | undefined;
  property: string;
  sharedName: string | undefined;
}

const wellKnown = {
  timestamp: "google.protobuf.Timestamp",
  anything: "google.protobuf.Value",
  "any object": "google.protobuf.Struct",
  "any list": "google.protobuf.ListValue",
} as const;

const scalars = {
  number: Type.DOUBLE,
  float: Type.FLOAT,
  boolean: Type.BOOL,
  string: Type.STRING,
  bytes: Type.BYTES,
} as const;

/** Makes the messages of one schema, all of them inside of the one that the schema itself describes. */
export class SchemaMessages {
  readonly #source: MessageSource;
  readonly #typeNames = new Map<string, string>();
  #root: Draft | undefined;
  #fields = 0;

  constructor(source: MessageSource) {
    this.#source = source;
  }

  /** The message of a shape, by its full name; `shape` is what the whole schema says. */
  root(shape: MessageShape, fullName: string): DescriptorProto {
    const draft = this.#draft(fullName, 0);
    this.#root = draft;
    this.#typeNames.set(shape.node.pointer, fullName);
    this.#fill(draft, shape);
    return draft.proto;
  }

  #draft(fullName: string, depth: number): Draft {
    const old = this.#source.previous?.messages.get(fullName)?.proto;
    const before = new Map(old?.field.map((field) => [field.jsonName || field.name, field]));
    const proto = create(DescriptorProtoSchema, { name: fullName.slice(fullName.lastIndexOf(".") + 1) });
    return { proto, fullName, scope: new NameScope(typeNamesIn(old)), depth, before };
  }

  #fill(draft: Draft, shape: MessageShape): void {
    const { proto, fullName, scope } = draft;
    const { description } = shape.node.keywords;
    if (typeof description === "string") this.#source.descriptions.set(proto, description);
    const sorted = [...shape.properties].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#fields += sorted.length;
    if (this.#fields > MOST_FIELDS) {
      this.#source.problems.add(shape.node.pointer, `describes more than ${MOST_FIELDS} properties.`);
      return;
    }
    const old = this.#source.previous?.messages.get(fullName)?.proto;
    const series = new NumberSeries(
      old,
      sorted.map(({ name }) => name),
    );
    // Names that callers know first, so that a new property never takes one of them.
    const known = sorted.filter(({ name }) => draft.before.has(name));
    const names = new Map(known.map(({ name }) => [name, scope.takeFieldLike(draft.before.get(name)?.name ?? name)]));
    for (const { name } of sorted) if (!names.has(name)) names.set(name, scope.takeFieldLike(fieldNameOf(name)));
    for (const name of names.values()) scope.take(mapEntryName(name));
    // Types go to what had them before.
    const isNew = ({ name }: SchemaProperty) => Number(!draft.before.has(name));
    for (const property of sorted.toSorted((a, b) => isNew(a) - isNew(b))) {
      const field = create(FieldDescriptorProtoSchema, {
        name: names.get(property.name) ?? "",
        jsonName: property.name,
      });
      field.number = series.numberOf(property.name);
      proto.field.push(field);
      this.#fillField(draft, field, property);
    }
    this.#addOneof(draft, shape);
    addPresence(draft);
    proto.field.sort((a, b) => a.number - b.number);
    series.reserveIn(proto);
  }

  #fillField(draft: Draft, field: FieldDescriptorProto, property: SchemaProperty): void {
    const { notes, problems, reader, descriptions } = this.#source;
    const subject = `${draft.fullName}.${field.name}`;
    if (property.name === "__proto__" || property.name.startsWith("[")) {
      problems.add(property.pointer, "is a name that JSON of protobuf cannot have; choose another.");
    }
    const shape = reader.read(property.schema, property.pointer);
    const inner = shape.kind === "list" ? shape.item : shape.kind === "map" ? shape.value : shape;
    const value = this.#valueType(draft, inner, property.name);
    field.label = shape.kind === "list" || shape.kind === "map" ? Label.REPEATED : Label.OPTIONAL;
    if (shape.kind === "map") addMapEntry(draft, field, value);
    else setType(field, value);
    const why = "why" in inner && inner.why !== "" ? inner.why : undefined;
    if (why) notes.push({ subject, text: `It becomes ${value.typeName}, because ${why}.` });
    const unchecked = writeFieldRules(field, shape, { type: value.type, required: property.required });
    for (const keyword of unchecked) notes.push({ subject, text: `Nothing checks ${keyword} of its schema.` });
    const { description } = shape.node.keywords;
    if (typeof description === "string") descriptions.set(field, description);
  }

  #valueType(draft: Draft, shape: SchemaShape, name: string): ValueType {
    const before = draft.before.get(name);
    switch (shape.kind) {
      case "message":
        return { type: Type.MESSAGE, typeName: this.#messageType(draft, shape, name) };
      case "choice":
        return this.#choiceType(draft, shape, name);
      case "integer":
        return { type: integerType(shape.node.keywords, before?.type) };
      case "timestamp":
        if (before?.type === Type.STRING) return { type: Type.STRING };
        return { type: Type.MESSAGE, typeName: wellKnown.timestamp };
      case "anything":
      case "any object":
      case "any list":
        return { type: Type.MESSAGE, typeName: wellKnown[shape.kind] };
      // Lists and maps hold neither lists nor maps: the shape has seen to it.
      case "list":
      case "map":
        return { type: Type.MESSAGE, typeName: wellKnown.anything };
      default:
        return { type: scalars[shape.kind] };
    }
  }

  /** Where a type that is described at a place goes: what others refer to lies in the root. */
  #home(draft: Draft, shape: SchemaShape): Draft {
    return shape.node.sharedName === undefined ? draft : (this.#root ?? draft);
  }

  #messageType(draft: Draft, shape: MessageShape, property: string): string {
    const { pointer, sharedName } = shape.node;
    const known = this.#typeNames.get(pointer);
    if (known !== undefined) return known;
    const home = this.#home(draft, shape);
    if (draft.depth >= MOST_NESTED) {
      this.#source.problems.add(pointer, `is nested deeper than ${MOST_NESTED} levels.`);
      return wellKnown.anything;
    }
    const before = this.#typeBefore(draft, property);
    const fullName = this.#typeName(home, { before, property, sharedName });
    this.#typeNames.set(pointer, fullName);
    const inner = this.#draft(fullName, draft.depth + 1);
    home.proto.nestedType.push(inner.proto);
    this.#fill(inner, shape);
    return fullName;
  }

  /** The type that a property had before, or its items or its map's values. */
  #typeBefore({ before }: Draft, property: string): string | undefined {
    const field = before.get(property);
    if (field === undefined) return undefined;
    const entry = this.#source.previous?.messages.get(typeNameOf(field.typeName))?.proto;
    const value = entry?.options?.mapEntry ? entry.field.find(({ number }) => number === 2) : field;
    return value?.typeName ? typeNameOf(value.typeName) : undefined;
  }

  /** The full name of a type: the one before if it lay in the same message, else a new one. */
  #typeName(home: Draft, { before, property, sharedName }: TypeOrigin): string {
    const prefix = `${home.fullName}.`;
    if (before?.startsWith(prefix) && home.scope.reclaim(before.slice(prefix.length))) return before;
    const wanted = pascalCase(sharedName ?? property);
    if (sharedName !== undefined && home.scope.reclaim(wanted)) return prefix + wanted;
    return prefix + home.scope.takeLike(wanted);
  }

  /** An enum, where its values can be names; else a text with a rule. What it was before it stays. */
  #choiceType(draft: Draft, shape: SchemaShape & { kind: "choice" }, property: string): ValueType {
    const { pointer, sharedName } = shape.node;
    const known = this.#typeNames.get(pointer);
    if (known !== undefined) return { type: Type.ENUM, typeName: known };
    const home = this.#home(draft, shape);
    const before = this.#typeBefore(draft, property);
    const old = new Set(this.#source.previous?.enums.get(before ?? "")?.proto.value.map(({ name }) => name));
    const fits = shape.values.every((value) => isIdentifier(value) && (old.has(value) || home.scope.isFree(value)));
    if (!fits || draft.before.get(property)?.type === Type.STRING) return { type: Type.STRING };
    const fullName = this.#typeName(home, { before, property, sharedName });
    for (const value of shape.values) if (!home.scope.reclaim(value)) home.scope.take(value);
    this.#typeNames.set(pointer, fullName);
    home.proto.enumType.push(this.#enum(home, fullName, shape.values));
    return { type: Type.ENUM, typeName: fullName };
  }

  #enum(home: Draft, fullName: string, values: readonly string[]): EnumDescriptorProto {
    const name = fullName.slice(fullName.lastIndexOf(".") + 1);
    const before = this.#source.previous?.enums.get(fullName)?.proto;
    const zero = before?.value[0]?.name;
    const kept = zero !== undefined && home.scope.reclaim(zero) ? zero : undefined;
    const none = kept ?? home.scope.takeLike(`${screamingCase(name)}_UNSPECIFIED`);
    const proto = create(EnumDescriptorProtoSchema, { name, value: [{ name: none, number: 0 }] });
    continueEnum(proto, before, [...values].sort());
    return proto;
  }

  #addOneof({ proto, scope }: Draft, { exclusive }: MessageShape): void {
    if (exclusive.length === 0) return;
    const index = proto.oneofDecl.length;
    const oneof = create(OneofDescriptorProtoSchema, {
      name: scope.reclaim("choice") ? "choice" : scope.takeLike("choice"),
    });
    oneof.options = create(OneofOptionsSchema);
    setExtension(oneof.options, validate.oneof, create(validate.OneofRulesSchema, { required: true }));
    proto.oneofDecl.push(oneof);
    const members = proto.field.filter(({ jsonName }) => exclusive.includes(jsonName));
    for (const field of members) field.oneofIndex = index;
  }
}

/** Names that new fields and types must leave to those who have them. */
function typeNamesIn(message: DescriptorProto | undefined): string[] {
  if (message === undefined) return [];
  const enums = message.enumType.flatMap(({ name, value }) => [name, ...value.map((one) => one.name)]);
  const nested = message.nestedType.filter(({ options }) => !options?.mapEntry).map(({ name }) => name);
  const oneofs = message.oneofDecl.map(({ name }) => name).filter((name) => !name.startsWith("_"));
  return [...nested, ...enums, ...oneofs];
}

function setType(field: FieldDescriptorProto, { type, typeName }: ValueType): void {
  field.type = type;
  if (typeName !== undefined) field.typeName = `.${typeName}`;
}

function addMapEntry({ proto, fullName }: Draft, field: FieldDescriptorProto, value: ValueType): void {
  const name = mapEntryName(field.name);
  const entry = create(DescriptorProtoSchema, { name, options: { mapEntry: true } });
  const part = (partName: string, number: number, type: ValueType) => {
    const made = create(FieldDescriptorProtoSchema, {
      name: partName,
      number,
      jsonName: partName,
      label: Label.OPTIONAL,
    });
    setType(made, type);
    return made;
  };
  entry.field.push(part("key", 1, { type: Type.STRING }), part("value", 2, value));
  proto.nestedType.push(entry);
  setType(field, { type: Type.MESSAGE, typeName: `${fullName}.${name}` });
}

/** Absent and default differ in JSON, so they differ in every field that can tell. */
function addPresence({ proto, scope }: Draft): void {
  for (const field of proto.field) {
    if (field.label === Label.REPEATED || field.type === Type.MESSAGE || isInOneof(field)) continue;
    field.proto3Optional = true;
    field.oneofIndex = proto.oneofDecl.length;
    proto.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: scope.takeLike(`_${field.name}`) }));
  }
}
