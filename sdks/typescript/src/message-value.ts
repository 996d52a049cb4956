import type { DescMessage } from "@bufbuild/protobuf";
import type { MessageTypes } from "@hms/direct-calls";
import { checkedMessage, isMessage } from "./checked-message.ts";
import { quickMessage } from "./quick-message.ts";

/**
 * The message that an object of the language stands for; the inverse of `plainValue`, and more generous: names in camel
 * or snake case, enums by name or number, dates and times as text too, 64-bit numbers as numbers, and whole messages.
 * @throws HmsError INVALID_ARGUMENT with every problem
 */
export function messageValue(desc: DescMessage, value: unknown, types: MessageTypes): object {
  if (isMessage(value, desc)) return value as object;
  return quickMessage(desc, value, types) ?? checkedMessage(desc, value, types);
}
