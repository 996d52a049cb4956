import type { Kernel, MethodEntry } from "@hms/kernel";
import type { RequestEnvelope } from "./request-envelope.ts";

/** Finds methods by the bytes that name them, so that names of known methods are not decoded again and again. */
export class MethodLookup {
  readonly #kernel: Kernel;
  readonly #known = new Map<string, MethodEntry>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The method a request names; undefined if the kernel does not serve it. */
  find(envelope: RequestEnvelope): MethodEntry | undefined {
    if (!envelope.contiguous) return this.#kernel.find(serviceOf(envelope), methodOf(envelope));
    const key = envelope.bytes.toString("latin1", envelope.serviceFrom, envelope.methodTo);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = this.#kernel.find(serviceOf(envelope), methodOf(envelope));
    // Only methods that exist are kept, so strangers cannot make the table grow.
    if (found !== undefined) this.#known.set(key, found);
    return found;
  }

  /** The name a request asks for, for error messages. */
  nameOf(envelope: RequestEnvelope): string {
    return `${serviceOf(envelope)}/${methodOf(envelope)}`.slice(0, 200);
  }
}

function serviceOf({ bytes, serviceFrom, serviceTo }: RequestEnvelope): string {
  return bytes.toString("utf8", serviceFrom, serviceTo);
}

function methodOf({ bytes, methodFrom, methodTo }: RequestEnvelope): string {
  return bytes.toString("utf8", methodFrom, methodTo);
}
