import type { DescMessage } from "@bufbuild/protobuf";
import type { MessageTypes } from "@hms/direct-calls";
import { decodedValue } from "./value-decoder.ts";

/** An answer that is a value of the language already. */
export class AnswerValue {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

type ReadAnswer = (desc: DescMessage, bytes: Uint8Array) => AnswerValue;

const readers = new WeakMap<MessageTypes, ReadAnswer>();

/** Reads answers whose messages may hold these types, so that no message is made of them. */
export function answerReader(types: MessageTypes): ReadAnswer {
  let reader = readers.get(types);
  if (reader === undefined) {
    reader = (desc, bytes) => new AnswerValue(decodedValue(desc, bytes, types));
    readers.set(types, reader);
  }
  return reader;
}
