import { type DescField, type DescMessage, type JsonValue, toJson } from "@bufbuild/protobuf";

const REDACTED = "[redacted]";

/** Names that stand for secrets in contracts that do not mark them. */
const SECRET =
  /(?:passwords?|passwd|passphrases?|password_?hash|secrets?|tokens?|credentials?|authorization|cookies?|(?:api|private|signing|secret|access|ssh)_?keys?)$/i;
/** Short ones, which other words end in. */
const SHORT_SECRET = /(?:^|_)(?:otp|pin)$|[a-z](?:Otp|Pin)$/;
/** Ends like a secret, and is none. */
const NO_SECRET = /page_?token$/i;

/**
 * A request as JSON for audit and taps: fields that its contract marks as `debug_redact`, and those whose names say that
 * they hold a secret, are "[redacted]"; so are all but the type of what cannot be written.
 */
export function redactedRequest(desc: DescMessage, message: unknown): JsonValue {
  try {
    return redactMessage(desc, toJson(desc, message as never));
  } catch {
    // An Any of a type that is not known here: the call itself is not to fail by it.
    return { "@type": desc.typeName, "@content": REDACTED };
  }
}

function redactMessage(desc: DescMessage, json: JsonValue): JsonValue {
  if (!isObject(json) || desc.fields.length === 0) return json;
  // What protobuf writes in a form of its own has the names of users, not of fields.
  if (desc.typeName.startsWith("google.protobuf.")) return redactNames(json);
  const fields = new Map(desc.fields.map((field) => [field.jsonName, field]));
  return mapped(json, (name, value) => redactField(fields.get(name), name, value));
}

function redactField(field: DescField | undefined, name: string, value: JsonValue): JsonValue {
  if (field?.proto.options?.debugRedact === true || isSecret(field?.name ?? name)) return REDACTED;
  const { message } = field ?? {};
  if (message === undefined) return field?.fieldKind === "map" ? redactNames(value) : value;
  if (field?.fieldKind === "list" && Array.isArray(value)) return value.map((item) => redactMessage(message, item));
  if (field?.fieldKind === "map" && isObject(value)) {
    return mapped(value, (key, item) => (isSecret(key) ? REDACTED : redactMessage(message, item)));
  }
  return redactMessage(message, value);
}

function redactNames(json: JsonValue): JsonValue {
  if (Array.isArray(json)) return json.map(redactNames);
  if (!isObject(json)) return json;
  return mapped(json, (name, value) => (isSecret(name) ? REDACTED : redactNames(value)));
}

const isSecret = (name: string) => (SECRET.test(name) || SHORT_SECRET.test(name)) && !NO_SECRET.test(name);

type JsonObject = { [name: string]: JsonValue };

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function mapped(json: JsonObject, map: (name: string, value: JsonValue) => JsonValue): JsonObject {
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, map(name, value)]));
}
