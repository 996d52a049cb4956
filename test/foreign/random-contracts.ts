import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromJson,
  type JsonObject,
  type Message,
  setExtension,
  toBinary,
} from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import * as wkt from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { validate } from "@hms/contracts";
import { Chance, type Kind, randomKinds } from "./random-values.ts";

const { FieldDescriptorProto_Type: Type, FieldDescriptorProto_Label: Label } = wkt;
const IMPORTED = [
  wkt.file_google_protobuf_any,
  wkt.file_google_protobuf_duration,
  wkt.file_google_protobuf_timestamp,
  wkt.file_google_protobuf_wrappers,
  wkt.file_google_protobuf_field_mask,
  wkt.file_google_protobuf_descriptor,
  validate.file_buf_validate_validate,
];

/** A contract, a message of its type `f.M`, and what protovalidate says of it. */
export interface JudgedMessage {
  /** A FileDescriptorSet in base64, without what it imports. */
  readonly contract: string;
  readonly message: JsonObject;
  readonly violations: readonly (readonly [field: string, description: string])[];
}

function fieldOptions(rules: object): wkt.FieldOptions {
  const options = create(wkt.FieldOptionsSchema);
  setExtension(options, validate.field, fromJson(validate.FieldRulesSchema, rules as JsonObject));
  return options;
}

type Shape = "single" | "list" | "map" | "optional" | "oneof";
type Kinds = ReturnType<typeof randomKinds>;

/** Makes messages with random rules. */
class MessageMaker {
  readonly #chance: Chance;
  readonly #kinds: Kinds;
  readonly #fields: object[] = [];
  readonly #nested: object[] = [];
  readonly #oneofs: object[] = [];
  readonly #names: string[] = [];
  #chosen = false;
  readonly message: Record<string, unknown> = {};
  readonly syntax: string;

  constructor(chance: Chance, kinds: Kinds) {
    this.#chance = chance;
    this.#kinds = kinds;
    this.syntax = chance.pick(["proto3", "proto3", "proto2"]);
  }

  /** The type `f.M`; what is wrong with its fields' names nobody asks. */
  make(): object {
    const chance = this.#chance;
    const oneof = create(wkt.OneofOptionsSchema);
    setExtension(oneof, validate.oneof, create(validate.OneofRulesSchema, { required: chance.is(0.7) }));
    this.#oneofs.push({ name: "choice", options: oneof });
    this.#add(chance.pick(this.#kinds.kinds), "oneof");
    for (const kind of chance.some(() => chance.pick(this.#kinds.kinds), 3)) {
      this.#add(kind, chance.pick<Shape>(["single", "single", "list", "map", "optional", "oneof"]));
    }
    const options = create(wkt.MessageOptionsSchema);
    if (chance.is(0.2)) {
      const rule = { fields: this.#names.slice(0, 2), required: chance.is(0.5) };
      setExtension(options, validate.message, create(validate.MessageRulesSchema, { oneof: [rule] }));
    }
    return { name: "M", field: this.#fields, nestedType: this.#nested, oneofDecl: this.#oneofs, options };
  }

  #add(kind: Kind, wanted: Shape): void {
    const shape = wanted === "optional" && this.syntax === "proto2" ? "single" : wanted;
    const at = this.#fields.length;
    const name = `f_${at}`;
    this.#names.push(name);
    const { type, typeName } = kind;
    const known = { name, jsonName: `f${at}`, number: at + 1, label: Label.OPTIONAL, type };
    const field = {
      ...known,
      ...(typeName ? { typeName } : {}),
      options: fieldOptions(this.#rules(kind, shape)),
    };
    this.#fields.push({ ...field, ...this.#shape(shape, field) });
    // Of a oneof the first that is given is the only one.
    if (this.#chance.is(0.25) || (shape === "oneof" && this.#chosen)) return;
    if (shape === "oneof") this.#chosen = true;
    this.message[`f${at}`] = this.#value(kind, shape);
  }

  #shape(shape: Shape, { name, number, type, ...field }: { name: string; number: number; type: number }): object {
    if (shape === "list") return { label: Label.REPEATED };
    if (shape === "oneof") return { oneofIndex: 0 };
    if (shape === "optional") {
      // Those of proto3 come last; their order is of no account here.
      this.#oneofs.push({ name: `_${name}` });
      return { proto3Optional: true, oneofIndex: this.#oneofs.length - 1 };
    }
    if (shape === "single") return {};
    const entry = `F${number - 1}Entry`;
    const part = (part: string, place: number) => ({
      name: part,
      jsonName: part,
      number: place,
      label: Label.OPTIONAL,
    });
    const typeName = "typeName" in field ? { typeName: field.typeName } : {};
    const key = { ...part("key", 1), type: Type.STRING };
    this.#nested.push({
      name: entry,
      options: { mapEntry: true },
      field: [key, { ...part("value", 2), type, ...typeName }],
    });
    return { label: Label.REPEATED, type: Type.MESSAGE, typeName: `.f.M.${entry}` };
  }

  #value(kind: Kind, shape: Shape): unknown {
    if (shape === "list") return this.#chance.some(() => kind.value(), 4);
    if (shape !== "map") return kind.value();
    return Object.fromEntries(this.#chance.some(() => [this.#kinds.text(), kind.value()] as const));
  }

  #ignoring(): object {
    const ways = ["IGNORE_UNSPECIFIED", "IGNORE_IF_ZERO_VALUE", "IGNORE_ALWAYS"];
    return this.#chance.parts(0.25, { ignore: () => this.#chance.pick(ways) });
  }

  #rules(kind: Kind, shape: Shape): object {
    const chance = this.#chance;
    const own = { ...chance.parts(0.2, { required: () => true }), ...this.#ignoring() };
    const typed = (likelihood: number) =>
      kind.rules === "" ? {} : chance.parts(likelihood, { [kind.rules]: kind.someRules });
    const inner = () => ({ ...typed(0.8), ...this.#ignoring() });
    const count = () => chance.pick([0, 1, 2, 3]);
    if (shape === "list") {
      const unique = kind.type === Type.MESSAGE ? {} : chance.parts(0.3, { unique: () => true });
      const sizes = chance.parts(0.3, { minItems: count, maxItems: count });
      return { ...own, repeated: { ...sizes, ...unique, ...chance.parts(0.7, { items: inner }) } };
    }
    if (shape === "map") {
      const keys = () => ({ string: this.#kinds.textRules() });
      const sizes = chance.parts(0.3, { minPairs: count, maxPairs: count });
      return { ...own, map: { ...sizes, ...chance.parts(0.7, { keys, values: inner }) } };
    }
    return { ...own, ...typed(0.9) };
  }
}

function subMessage(): object {
  const field = (name: string, number: number, rules: object) => {
    return { name, jsonName: name, number, label: Label.OPTIONAL, type: Type.STRING, options: fieldOptions(rules) };
  };
  const list = field("list", 2, { repeated: { unique: true, items: { string: { maxLen: 3 } } } });
  const again = { ...field("again", 3, {}), type: Type.MESSAGE, typeName: ".f.Sub" };
  return {
    name: "Sub",
    field: [field("text", 1, { string: { minLen: 1, maxLen: 5 } }), { ...list, label: Label.REPEATED }, again],
  };
}

/** undefined if the contract has no such message: enums of proto2 know no other numbers than theirs. */
function readMessage(desc: DescMessage, message: JsonObject, registry: FileRegistry): Message | undefined {
  try {
    return fromJson(desc, message, { registry });
  } catch {
    return undefined;
  }
}

/** Messages by random contracts, judged by protovalidate; the same ones for the same seed. */
export function* judgedMessages(seed: number, count: number): Generator<JudgedMessage> {
  const chance = new Chance(seed);
  const kinds = randomKinds(chance);
  for (let made = 0; made < count; ) {
    const maker = new MessageMaker(chance, kinds);
    const file = create(wkt.FileDescriptorProtoSchema, {
      name: "f.proto",
      package: "f",
      syntax: maker.syntax,
      dependency: IMPORTED.map(({ proto }) => proto.name),
      enumType: [{ name: "E", value: ["A", "B", "C"].map((name, number) => ({ name, number })) }],
      messageType: [maker.make() as never, subMessage() as never],
    });
    // proto3 wants the oneofs of optional fields after the others, and so they are.
    const files = create(wkt.FileDescriptorSetSchema, { file: [...IMPORTED.map(({ proto }) => proto), file] });
    const registry = createFileRegistry(files);
    const desc = registry.getMessage("f.M");
    if (desc === undefined) throw new Error("f.M has not been made");
    const message = maker.message as JsonObject;
    const read = readMessage(desc, message, registry);
    if (read === undefined) continue;
    const result = createValidator({ registry }).validate(desc, read);
    if (result.kind === "error") throw result.error;
    const found = result.kind === "invalid" ? result.violations : [];
    const own = toBinary(wkt.FileDescriptorSetSchema, create(wkt.FileDescriptorSetSchema, { file: [file] }));
    made += 1;
    yield {
      contract: Buffer.from(own).toString("base64"),
      message,
      violations: found.map(({ field, message }) => [pathToString(field), `${message}.`]),
    };
  }
}
