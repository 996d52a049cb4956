import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { anyTypesOf } from "@hms/kernel";
import type { Output } from "./output.ts";
import { renderTable } from "./table.ts";

/** Messages of one kind as a table. */
export interface Listing<D extends DescMessage> {
  readonly schema: D;
  readonly messages: readonly MessageShape<D>[];
  readonly head: string[];
  readonly row: (message: MessageShape<D>) => string[];
  /** What is said where there is none. */
  readonly none: string;
}

/** Prints messages: all of them as one JSON document under `-o json`, otherwise as a table. */
export function presentList<D extends DescMessage>(output: Output, listing: Listing<D>): void {
  const { schema, messages, head, row, none } = listing;
  if (output.json)
    output.document(
      messages.map((one) => toJson(schema, one, { alwaysEmitImplicit: true, registry: anyTypesOf(schema.file) })),
    );
  else if (messages.length === 0) output.note(none);
  else for (const line of renderTable(head, messages.map(row))) output.result(line);
}

/** Prints one message: as JSON under `-o json`, otherwise its lines. */
export function presentOne<D extends DescMessage>(
  output: Output,
  schema: D,
  { message, lines }: { message: MessageShape<D>; lines: readonly string[] },
): void {
  if (output.json)
    output.document(toJson(schema, message, { alwaysEmitImplicit: true, registry: anyTypesOf(schema.file) }));
  else for (const line of lines) output.result(line);
}
