import { type DescMessage, type DescMethod, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { readContract } from "@hms/descriptors";
import { messageValue } from "../src/message-value.ts";
import { plainValue } from "../src/plain-value.ts";

/** JSON of the runner as the SDK's own values, and back. */
export class Translator {
  readonly #methods = new Map<string, DescMethod>();
  readonly #types: { getMessage(name: string): DescMessage | undefined };

  constructor(bytes: Uint8Array) {
    const reading = readContract(bytes, "hms.conformance.v1");
    if ("problem" in reading) throw new Error(reading.problem);
    const { files, services } = reading.contract;
    this.#types = files;
    for (const { methods } of services) for (const method of methods) this.#methods.set(method.name, method);
  }

  request(typed: boolean, name: string, json: unknown): object {
    const method = typed ? this.#methods.get(name) : undefined;
    if (method === undefined || json === undefined) return (json ?? {}) as object;
    const message = fromJson(method.input, json as JsonValue, { registry: this.#types as never });
    return plainValue(method.input, message, this.#types) as object;
  }

  response(typed: boolean, name: string, value: unknown): unknown {
    const method = typed ? this.#methods.get(name) : undefined;
    if (method === undefined) return value;
    const message = messageValue(method.output, value, this.#types);
    return toJson(method.output, message as never, { alwaysEmitImplicit: true, registry: this.#types as never });
  }
}
