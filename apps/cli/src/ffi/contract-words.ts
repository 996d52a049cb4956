import { type DescField, type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { isUntyped } from "@hms/descriptors";

const KINDS: Record<DescMethod["methodKind"], string> = {
  unary: "one request, one answer",
  server_streaming: "one request, a stream of answers",
  client_streaming: "a stream of requests, one answer",
  bidi_streaming: "streams both ways",
};

/** What goes in and out of a method. */
export function kindWord(desc: DescMethod): string {
  return isUntyped(desc) ? `${KINDS[desc.methodKind]}; any JSON object` : KINDS[desc.methodKind];
}

/** The type of a field as contracts write it. */
export function fieldWord(field: DescField): string {
  switch (field.fieldKind) {
    case "list":
      return `repeated ${itemWord(field)}`;
    case "map":
      return `map<${ScalarType[field.mapKey].toLowerCase()}, ${itemWord(field)}>`;
    default:
      return itemWord(field);
  }
}

function itemWord({ message, enum: choice, scalar }: DescField): string {
  if (message) return message.name;
  if (choice) return choice.values.map(({ name }) => name).join(" | ");
  return scalar === undefined ? "" : ScalarType[scalar].toLowerCase();
}

/** The messages of a method and what they are made of, in the order in which they are met; protobuf's own are left out. */
export function messagesOf(desc: DescMethod): DescMessage[] {
  const met = new Set<DescMessage>();
  const meet = (message: DescMessage | undefined) => {
    if (message === undefined || met.has(message) || message.typeName.startsWith("google.protobuf.")) return;
    met.add(message);
    for (const field of message.fields) meet(field.message);
  };
  meet(desc.input);
  meet(desc.output);
  return [...met];
}
