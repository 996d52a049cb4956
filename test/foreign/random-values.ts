import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";

type Json = string | number | boolean | object;

/** A type of fields, values for it and rules that may be put on it. */
export interface Kind {
  readonly type: Type;
  readonly typeName?: string;
  /** The member of buf.validate.FieldRules; "": there is none. */
  readonly rules: string;
  value(): Json;
  someRules(): object;
}

/** Numbers that look random and are the same for the same seed. */
export class Chance {
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  next(): number {
    this.#seed = (this.#seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return this.#seed / 2_147_483_648;
  }

  is(likelihood: number): boolean {
    return this.next() < likelihood;
  }

  pick<V>(list: readonly V[]): V {
    return list[Math.floor(this.next() * list.length)] as V;
  }

  some<V>(make: () => V, most = 3): V[] {
    return Array.from({ length: Math.floor(this.next() * (most + 1)) }, make);
  }

  /** Each of the parts is there with this likelihood. */
  parts(likelihood: number, makers: Readonly<Record<string, () => unknown>>): object {
    const chosen = Object.entries(makers).filter(() => this.is(likelihood));
    return Object.fromEntries(chosen.map(([name, make]) => [name, make()]));
  }
}

const TEXTS = [
  ..."|a|ab|abc|äöü|😀|K|straße|a.b.c|a b|-a.b|x@y.z|foo@example.com|example.com|example.com.|foo.Bar|.foo.Bar|foo..bar".split(
    "|",
  ),
  ..."1.2.3.4|01.2.3.4|256.1.1.1|::1|fe80::1%eth0|fe80::1%|1:2:3:4:5:6:7:8|1::2::3|::ffff:1.2.3.4|1.2.3.0/24".split(
    "|",
  ),
  ..."1.2.3.4/24|1.2.3.4/33|::/0|::1/128|::1/129|2001:db8::/32|2001:db8::1/32|host:80|host:080|host:65536".split("|"),
  ..."http://a/b?c#d|http://[::1]:80/|http://[v1.x]/|mailto:x@y|//host/p|%zz|http://a/%41%ff|http://%ff/|a:b|#f".split(
    "|",
  ),
  ..."http://u:p@h:80|urn:x|?q|../a|[::1]:80|[::1]|:80|X-Header|bad header|550e8400-e29b-41d4-a716-446655440000".split(
    "|",
  ),
  ..."550e8400e29b41d4a716446655440000|01ARZ3NDEKTSV4RRFFQ69G5FAV|81ARZ3NDEKTSV4RRFFQ69G5FAV".split("|"),
  ...["a\n", "v\tal", "v\u0000", "line\r\n", 'q"uo\\te', "a".repeat(64), `${"a".repeat(63)}.com`],
];
const PATTERNS =
  "^a b$ ^[a-z]+$ ^\\pL*$ (?i)AB ^.{1,3}$ \\bexample\\b ^\\S*$ ^[^\\x00-\\x1f]*$ (a+)+$ ^$ [[:alnum:]] \\A\\w+\\z ^(?s:.)*$";
const FORMATS =
  "email hostname ip ipv4 ipv6 uri uriRef address uuid tuuid ipWithPrefixlen ipv4WithPrefixlen ipv6WithPrefixlen ipPrefix ipv4Prefix ipv6Prefix hostAndPort ulid protobufFqn protobufDotFqn";
const BYTES = ["", "YQ==", "AQID", "AQIDBA==", "////", "AAAAAAAAAAAAAAAAAAAAAA==", "w6Q="];
const SPANS = ["0s", "1s", "-1s", "1.500s", "0.000001s", "60s", "3600s"];
const MOMENTS = "1970-01-01T00:00:00Z 2000-01-01T00:00:00Z 2026-01-01T00:00:00.500Z 2100-01-01T00:00:00Z".split(" ");
const FLOATS = [0, 1, -1, 0.5, 2.5, 100, 2 ** 70, "NaN", "Infinity", "-Infinity"];
const DOUBLES = [...FLOATS, 1e21, 1e-7, 1.5e22, 123_456_789.125];

/** Kinds of fields, and texts for the keys of maps. */
export function randomKinds(chance: Chance): { kinds: readonly Kind[]; text: () => string; textRules: () => object } {
  const { pick } = {
    pick:
      <V>(list: readonly V[]) =>
      () =>
        chance.pick(list),
  };
  const bounds = (value: () => Json) => ({
    ...chance.parts(0.15, { const: value }),
    ...(chance.is(0.4) ? chance.pick([{ lt: value() }, { lte: value() }]) : {}),
    ...(chance.is(0.4) ? chance.pick([{ gt: value() }, { gte: value() }]) : {}),
  });
  const lists = (value: () => Json) =>
    chance.parts(0.2, { in: () => chance.some(value), notIn: () => chance.some(value) });
  const text = () =>
    chance.is(0.8) ? chance.pick(TEXTS) : chance.some(() => chance.pick([..."ab.:/@%-1é😀\n"]), 6).join("");
  const count = pick([0, 1, 2, 3, 5, 10]);
  const textRules = () => ({
    ...chance.parts(0.12, { const: text, len: count, minLen: count, maxLen: count, lenBytes: count, minBytes: count }),
    ...chance.parts(0.12, { maxBytes: count, prefix: text, suffix: text, contains: text, notContains: text }),
    ...chance.parts(0.2, { pattern: pick(PATTERNS.split(" ")) }),
    ...lists(text),
    ...(chance.is(0.6) ? { [chance.pick(FORMATS.split(" "))]: chance.is(0.95) } : headerRules(chance)),
  });
  const bytes = pick(BYTES);
  const bytesRules = () => ({
    ...chance.parts(0.15, { const: bytes, minLen: count, maxLen: count, len: count }),
    ...chance.parts(0.15, { prefix: bytes, suffix: bytes, contains: bytes }),
    ...lists(bytes),
    ...(chance.is(0.3) ? { [chance.pick(["ip", "ipv4", "ipv6", "uuid"])]: true } : {}),
  });
  const number = (rules: string, type: Type, values: readonly Json[]): Kind => {
    const value = pick(values);
    return { rules, type, value, someRules: () => ({ ...bounds(value), ...lists(value) }) };
  };
  const simple = [
    ...["int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64"].map((name) =>
      number(name, Type[name.toUpperCase() as "INT32"], [0, 1, -1, 2, -5, 10, 100]),
    ),
    ...["uint32", "uint64", "fixed32", "fixed64"].map((name) =>
      number(name, Type[name.toUpperCase() as "UINT32"], [0, 1, 2, 3, 5, 10, 100]),
    ),
    number("float", Type.FLOAT, FLOATS),
    number("double", Type.DOUBLE, DOUBLES),
    { rules: "bool", type: Type.BOOL, value: pick([true, false]), someRules: () => ({ const: chance.is(0.5) }) },
    { rules: "string", type: Type.STRING, value: text, someRules: textRules },
    { rules: "bytes", type: Type.BYTES, value: bytes, someRules: bytesRules },
  ];
  const wrapped = simple.flatMap((kind) => {
    const name = { string: "String", int64: "Int64", bool: "Bool", double: "Double", bytes: "Bytes" }[kind.rules];
    return name === undefined ? [] : [{ ...kind, type: Type.MESSAGE, typeName: `.google.protobuf.${name}Value` }];
  });
  const texts = [1, 2].map(() => ({ rules: "string", type: Type.STRING, value: text, someRules: textRules }));
  return { kinds: [...simple, ...texts, ...wrapped, ...messages(chance, { bounds, lists, text })], text, textRules };
}

function headerRules(chance: Chance): object {
  if (chance.is(0.6)) return {};
  const wellKnownRegex = `KNOWN_REGEX_HTTP_HEADER_${chance.pick(["NAME", "VALUE"])}`;
  return { wellKnownRegex, ...chance.parts(0.5, { strict: () => false }) };
}

interface Makers {
  bounds(value: () => Json): object;
  lists(value: () => Json): object;
  text(): string;
}

function messages(chance: Chance, { bounds, lists, text }: Makers): Kind[] {
  const span = () => chance.pick(SPANS);
  const moment = () => chance.pick(MOMENTS);
  const near = () => chance.pick<object>([{ ltNow: true }, { gtNow: true }, { within: "3600s" }]);
  const known = { "@type": "type.googleapis.com/f.Sub", text: "a" };
  const message = (name: string) => ({ type: Type.MESSAGE, typeName: `.google.protobuf.${name}` });
  const urls = ["type.googleapis.com/f.Sub"];
  return [
    { ...message("Duration"), rules: "duration", value: span, someRules: () => ({ ...bounds(span), ...lists(span) }) },
    {
      ...message("Timestamp"),
      rules: "timestamp",
      value: moment,
      someRules: () => (chance.is(0.2) ? near() : bounds(moment)),
    },
    {
      ...message("Any"),
      rules: "any",
      value: () => chance.pick([{}, known]),
      someRules: () => chance.pick([{ in: urls }, { notIn: urls }]),
    },
    {
      ...message("FieldMask"),
      rules: "fieldMask",
      value: () => chance.pick(["", "a", "a,bC", "a.b"]),
      someRules: () => chance.pick<object>([{ const: "a,bC" }, { in: ["a", "b_c"] }, { notIn: ["a"] }]),
    },
    {
      type: Type.ENUM,
      typeName: ".f.E",
      rules: "enum",
      value: () => chance.pick<Json>([0, 1, 2, 7, "A", "B"]),
      someRules: () => ({ ...chance.parts(0.5, { definedOnly: () => true }), ...lists(() => chance.pick([0, 1, 2])) }),
    },
    {
      type: Type.MESSAGE,
      typeName: ".f.Sub",
      rules: "",
      value: () => chance.parts(0.6, { text, list: () => chance.some(text), again: () => chance.parts(0.5, { text }) }),
      someRules: () => ({}),
    },
  ];
}
