import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import type { ContractCode } from "./contract-code.ts";
import type { TypeNames } from "./type-names.ts";

/** Whether a value is read, or given to be sent. */
export type Side = "read" | "given";

/** Words that cannot be names. */
export const pythonKeywords: ReadonlySet<string> = new Set(
  (
    "False None True and as assert async await break class continue def del elif else except finally for from global " +
    "if import in is lambda nonlocal not or pass raise return try while with yield"
  ).split(" "),
);

/** A name that code may use, with an underscore at its end where it means something to the language. */
export function pythonName(name: string): string {
  return pythonKeywords.has(name) ? `${name}_` : name;
}

/** Types with a form of their own: as they are read, and as they may be given. */
const OWN_FORM: Record<string, readonly [read: string, given: string]> = {
  Timestamp: ["datetime", "Union[datetime, str]"],
  Duration: ["timedelta", "Union[timedelta, float, str]"],
  Struct: ["Dict[str, Any]", "Mapping[str, Any]"],
  Value: ["Any", "Any"],
  ListValue: ["List[Any]", "Sequence[Any]"],
  FieldMask: ["str", "Union[str, Sequence[str]]"],
  Any: ["Dict[str, Any]", "Mapping[str, Any]"],
  BoolValue: ["bool", "bool"],
  StringValue: ["str", "str"],
  BytesValue: ["bytes", "bytes"],
  FloatValue: ["float", "float"],
  DoubleValue: ["float", "float"],
};

/** The Python type of a message. */
export function messageType(message: DescMessage, names: TypeNames, side: Side): string {
  const [, own] = /^google\.protobuf\.(\w+)$/.exec(message.typeName) ?? [];
  const known = own === undefined ? undefined : OWN_FORM[own];
  if (known) return known[side === "read" ? 0 : 1];
  if (own?.endsWith("Value")) return "int";
  return side === "read" ? names.of(message) : `${names.of(message)}Like`;
}

function scalarType(type: ScalarType | undefined): string {
  if (type === ScalarType.BOOL) return "bool";
  if (type === ScalarType.STRING) return "str";
  if (type === ScalarType.BYTES) return "bytes";
  return type === ScalarType.FLOAT || type === ScalarType.DOUBLE ? "float" : "int";
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT: zero and absence are the same. */
const IMPLICIT = 2;

function fieldType(field: DescField, names: TypeNames, side: Side): string {
  const item = field.message
    ? messageType(field.message, names, side)
    : field.enum
      ? names.of(field.enum)
      : scalarType(field.scalar);
  const isRead = side === "read";
  if (field.fieldKind === "map") {
    return `${isRead ? "Dict" : "Mapping"}[${scalarType(field.mapKey)}, ${item}]`;
  }
  if (field.fieldKind === "list") return `${isRead ? "List" : "Sequence"}[${item}]`;
  const mayBeNone = side === "given" || (field.presence !== IMPLICIT && field.oneof === undefined);
  return mayBeNone && item !== "Any" ? `Optional[${item}]` : item;
}

/** A docstring with its indentation; none for no text. */
export function docString(text: string, indent: string): string[] {
  if (text === "") return [];
  const safe = text.replaceAll("\\", "\\\\").replaceAll('"""', '\\"\\"\\"');
  const [first = "", ...rest] = safe.split("\n");
  const end = safe.endsWith('"') ? ' """' : '"""';
  return [
    `${indent}"""${first}${rest.length === 0 ? end : ""}`,
    ...rest.map((line, at) => `${indent}${line}`.trimEnd() + (at === rest.length - 1 ? end : "")),
  ];
}

interface Dictionary {
  readonly name: string;
  readonly base: string;
  /** Whether every field is there. */
  readonly total: boolean;
  readonly doc: string;
  readonly fields: readonly DescField[];
  readonly side: Side;
}

/** Names that a class body cannot have, would change, or that would hide a type from the fields below. */
const isUnfit = ({ name }: DescField, names: TypeNames) =>
  names.has(name) || !/^[A-Za-z_]\w*$/.test(name) || name.startsWith("__");

/** A TypedDict: as a class, or as a call where a field's name is none for a class. */
function dictionaryLines(
  { name, base, total, doc, fields, side }: Dictionary,
  code: ContractCode,
  names: TypeNames,
): string[] {
  const parameters = total ? "" : ", total=False";
  const comments = (field: DescField) =>
    code
      .commentOf(field)
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => `    #: ${line}`);
  if (!fields.some((field) => isUnfit(field, names))) {
    const body = fields.flatMap((field) => [...comments(field), `    ${field.name}: ${fieldType(field, names, side)}`]);
    const said = docString(doc, "    ");
    return [
      "",
      "",
      `class ${name}(${base}${parameters}):`,
      ...(said.length + body.length === 0 ? ["    pass"] : [...said, ...body]),
    ];
  }
  const parts = `_${name}Fields`;
  const entries = fields.flatMap((field) => [
    ...comments(field),
    `    ${JSON.stringify(field.name)}: "${fieldType(field, names, side)}",`,
  ]);
  const bases = base === "TypedDict" ? parts : `${parts}, ${base}`;
  return [
    ...["", "", `${parts} = TypedDict(`, `    "${parts}",`, "    {", ...entries.map((line) => `    ${line}`), "    },"],
    ...[...(total ? [] : ["    total=False,"]), ")", "", "", `class ${name}(${bases}${parameters}):`],
    ...(doc === "" ? ["    pass"] : docString(doc, "    ")),
  ];
}

/** The types of a message: as it is read, as it may be given, and both. */
export function messageLines(message: DescMessage, code: ContractCode, names: TypeNames): string[] {
  const name = names.of(message);
  const choices = message.fields.filter(({ oneof }) => oneof !== undefined);
  const others = message.fields.filter(({ oneof }) => oneof === undefined);
  const oneofs = [...new Set(choices.map(({ oneof }) => oneof?.name))];
  const doc = code.commentOf(message) || `${message.typeName}.`;
  const among = oneofs.map((oneof) => `At most one of the fields of "${oneof}" is there.`).join(" ");
  const said = among === "" ? doc : `${doc}\n\n${among}`;
  const chosen = {
    name: `_${name}Choices`,
    base: "TypedDict",
    total: false,
    doc: "",
    fields: choices,
    side: "read",
  } as const;
  const base = choices.length > 0 ? chosen.name : "TypedDict";
  const given = `${name}, as it may be given: fields may be left out.`;
  return [
    ...(choices.length > 0 ? dictionaryLines(chosen, code, names) : []),
    ...dictionaryLines({ name, base, total: true, doc: said, fields: others, side: "read" }, code, names),
    ...dictionaryLines(
      { name: `${name}Input`, base: "TypedDict", total: false, doc: given, fields: message.fields, side: "given" },
      code,
      names,
    ),
    "",
    "",
    `${name}Like = Union[${name}Input, ${name}]`,
  ];
}

/** The type of an enum: its names, and numbers that this contract has no name for. */
export function enumLines(desc: DescEnum, code: ContractCode, names: TypeNames): string[] {
  const values = [...new Set(desc.values.map(({ name }) => JSON.stringify(name)))].join(", ");
  const comment = (code.commentOf(desc) || `${desc.typeName}.`).split("\n").map((line) => `#: ${line}`);
  return ["", ...comment, `${names.of(desc)} = Union[Literal[${values}], int]`];
}
