import { isFieldSet } from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { type ContractIndex, type IndexedField, typeNameOf } from "./contract-index.ts";

/** How many values a field has. */
export type Cardinality = "optional" | "optional without presence" | "required" | "repeated" | "map";

/** Whether the field is a map, which travels as repeated entries. */
function isMap({ proto }: IndexedField, index: ContractIndex): boolean {
  if (proto.label !== Label.REPEATED || proto.type !== Type.MESSAGE) return false;
  return index.messages.get(typeNameOf(proto.typeName))?.proto.options?.mapEntry ?? false;
}

function hasPresence({ proto, features, extension }: IndexedField): boolean {
  if (extension || proto.proto3Optional || isInOneof(proto)) return true;
  if (proto.type === Type.MESSAGE || proto.type === Type.GROUP) return true;
  return features.fieldPresence !== FeatureSet_FieldPresence.IMPLICIT;
}

/** Whether the field is a member of a oneof that the source wrote, not of one that stands for presence. */
export function isInOneof(proto: FieldDescriptorProto): boolean {
  return isFieldSet(proto, FieldDescriptorProtoSchema.field.oneofIndex) && !proto.proto3Optional;
}

/** How many values a field has. */
export function cardinalityOf(field: IndexedField, index: ContractIndex): Cardinality {
  const { label } = field.proto;
  if (label === Label.REPEATED) return isMap(field, index) ? "map" : "repeated";
  const { fieldPresence } = field.features;
  const required =
    label === Label.REQUIRED || (fieldPresence === FeatureSet_FieldPresence.LEGACY_REQUIRED && !field.extension);
  if (required) return "required";
  return hasPresence(field) ? "optional" : "optional without presence";
}

/** The type of a field on the wire; a message in delimited encoding is a group, whatever the file calls it. */
export function kindOf({ proto, features, mapEntry }: IndexedField, index: ContractIndex): Type {
  if (proto.type !== Type.MESSAGE || mapEntry) return proto.type;
  const target = index.messages.get(typeNameOf(proto.typeName));
  if (target?.proto.options?.mapEntry) return Type.MESSAGE;
  return features.messageEncoding === FeatureSet_MessageEncoding.DELIMITED ? Type.GROUP : Type.MESSAGE;
}

/** The type as the source of a contract writes it: "int64", "hms.a.v1.Position". */
export function typeText(field: IndexedField, index: ContractIndex): string {
  const { proto } = field;
  if (proto.typeName !== "")
    return kindOf(field, index) === Type.GROUP ? `group ${typeNameOf(proto.typeName)}` : typeNameOf(proto.typeName);
  return Type[proto.type].toLowerCase();
}

/** The value of a field that is absent; undefined for messages, lists and maps, which have none. */
export function defaultOf({ proto }: IndexedField, index: ContractIndex): string | number | bigint | undefined {
  const { type, label, defaultValue: text } = proto;
  if (label === Label.REPEATED) return undefined;
  switch (type) {
    case Type.MESSAGE:
    case Type.GROUP:
      return undefined;
    case Type.STRING:
    case Type.BYTES:
      return text;
    case Type.BOOL:
      return text === "true" ? 1 : 0;
    case Type.ENUM: {
      const values = index.enums.get(typeNameOf(proto.typeName))?.proto.value ?? [];
      return (values.find(({ name }) => name === text) ?? values[0])?.number ?? 0;
    }
    case Type.FLOAT:
      return Math.fround(floatOf(text));
    case Type.DOUBLE:
      return floatOf(text);
    default:
      return BigInt(text || "0");
  }
}

function floatOf(text: string): number {
  if (text === "inf") return Number.POSITIVE_INFINITY;
  return text === "-inf" ? Number.NEGATIVE_INFINITY : Number(text);
}
