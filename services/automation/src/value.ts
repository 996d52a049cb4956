import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Json } from "@hms/durable";

/** JSON as a `google.protobuf.Value`. */
export const toWkt = (json: Json): Value => fromJson(ValueSchema, json as JsonValue);

/** A `google.protobuf.Value` as JSON; absent is null. */
export const fromWkt = (value: Value | undefined): Json =>
  value === undefined || value.kind.case === undefined ? null : (toJson(ValueSchema, value) as Json);
