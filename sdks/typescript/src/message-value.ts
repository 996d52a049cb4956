import type { DescMessage } from "@bufbuild/protobuf";
import type { MessageTypes } from "@hms/direct-calls";
import { EncodedMessage } from "@hms/kernel";
import { checkedMessage, isMessage } from "./checked-message.ts";
import { encodedValue } from "./value-encoder.ts";

/**
 * The message that an object of the language stands for; the inverse of `plainValue`, and more generous: names in camel
 * or snake case, enums by name or number, dates and times as text too, 64-bit numbers as numbers, and whole messages.
 * @throws HmsError INVALID_ARGUMENT with every problem
 */
export function messageValue(desc: DescMessage, value: unknown, types: MessageTypes): object {
  if (isMessage(value, desc)) return value as object;
  const encoded = encodedValue(desc, value, types);
  return encoded ? (EncodedMessage.messageOf(encoded) as object) : checkedMessage(desc, value, types);
}

/**
 * The same for transports that take an `EncodedMessage`: most values are never made messages.
 * @throws HmsError INVALID_ARGUMENT with every problem
 */
export function sentValue(desc: DescMessage, value: unknown, types: MessageTypes): object {
  return (
    encodedValue(desc, value, types) ??
    (isMessage(value, desc) ? (value as object) : checkedMessage(desc, value, types))
  );
}
