import { type DescMessage, fromBinary } from "@bufbuild/protobuf";

/**
 * A message that is protobuf bytes already: transports that write such bytes send them as they are. Who needs the message
 * itself makes it.
 */
export class EncodedMessage {
  readonly $typeName: string;
  readonly bytes: Uint8Array;
  readonly #desc: DescMessage;

  constructor(desc: DescMessage, bytes: Uint8Array) {
    this.$typeName = desc.typeName;
    this.bytes = bytes;
    this.#desc = desc;
  }

  /** The message behind something that may be encoded already. */
  static messageOf(input: unknown): unknown {
    return input instanceof EncodedMessage ? fromBinary(input.#desc, input.bytes) : input;
  }
}
