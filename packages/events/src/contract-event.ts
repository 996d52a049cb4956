import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel/errors";
import type { CloudEvent } from "./cloud-event.ts";
import { createEvent, type NewEvent } from "./new-event.ts";

const CONTENT_TYPE = "application/protobuf";

/** The `dataschema` of a contract's message: its full name, which holds the version, "hms-contract:hms.x.v1.Done". */
export function contractId(schema: DescMessage): string {
  return `hms-contract:${schema.typeName}`;
}

/** An event whose data is a message of a contract, named in `dataschema`. */
export function contractEvent<Schema extends DescMessage>(
  schema: Schema,
  message: MessageInitShape<Schema>,
  attributes: Omit<NewEvent, "data" | "datacontenttype" | "dataschema"> & Pick<NewEvent, "source" | "type">,
): CloudEvent {
  const data = toBinary(schema, create(schema, message));
  return createEvent({ ...attributes, dataschema: contractId(schema), datacontenttype: CONTENT_TYPE, data });
}

/** The message that an event of contractEvent() carries. @throws HmsError FAILED_PRECONDITION if it is another's. */
export function contractMessage<Schema extends DescMessage>(schema: Schema, event: CloudEvent): MessageShape<Schema> {
  const { dataschema, data } = event;
  if (dataschema !== contractId(schema)) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `The event ${event.id} of ${event.type} carries ${dataschema ?? "no contract's message"}, not ${contractId(schema)}. Look at dataschema before reading it.`,
      { reason: "OTHER_CONTRACT" },
    );
  }
  return fromBinary(schema, data instanceof Uint8Array ? data : new Uint8Array());
}
