import {
  Edition,
  type FeatureSet,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_JsonFormat,
  FeatureSet_MessageEncoding,
  FeatureSet_Utf8Validation,
  type FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";

/** The features of editions that decide how things travel; files of proto2 and proto3 have fixed ones. */
export interface ResolvedFeatures {
  readonly fieldPresence: FeatureSet_FieldPresence;
  readonly enumType: FeatureSet_EnumType;
  readonly utf8Validation: FeatureSet_Utf8Validation;
  readonly messageEncoding: FeatureSet_MessageEncoding;
  readonly jsonFormat: FeatureSet_JsonFormat;
}

const editions: ResolvedFeatures = {
  fieldPresence: FeatureSet_FieldPresence.EXPLICIT,
  enumType: FeatureSet_EnumType.OPEN,
  utf8Validation: FeatureSet_Utf8Validation.VERIFY,
  messageEncoding: FeatureSet_MessageEncoding.LENGTH_PREFIXED,
  jsonFormat: FeatureSet_JsonFormat.ALLOW,
};

const proto3: ResolvedFeatures = { ...editions, fieldPresence: FeatureSet_FieldPresence.IMPLICIT };

const proto2: ResolvedFeatures = {
  ...editions,
  enumType: FeatureSet_EnumType.CLOSED,
  utf8Validation: FeatureSet_Utf8Validation.NONE,
  jsonFormat: FeatureSet_JsonFormat.LEGACY_BEST_EFFORT,
};

/** The syntax of a file: "proto2" if it names none. */
export function syntaxOf({ syntax }: FileDescriptorProto): string {
  return syntax === "" ? "proto2" : syntax;
}

/** The features that a file starts from (https://protobuf.dev/editions/features). */
export function fileFeatures(file: FileDescriptorProto): ResolvedFeatures {
  const syntax = syntaxOf(file);
  if (syntax === "proto2") return proto2;
  if (syntax === "proto3" || file.edition === Edition.EDITION_PROTO3) return proto3;
  return withFeatures(editions, file.options?.features);
}

/** Features as something inside of what has `outer` sets them. */
export function withFeatures(outer: ResolvedFeatures, own: FeatureSet | undefined): ResolvedFeatures {
  if (own === undefined) return outer;
  return {
    fieldPresence: own.fieldPresence || outer.fieldPresence,
    enumType: own.enumType || outer.enumType,
    utf8Validation: own.utf8Validation || outer.utf8Validation,
    messageEncoding: own.messageEncoding || outer.messageEncoding,
    jsonFormat: own.jsonFormat || outer.jsonFormat,
  };
}
