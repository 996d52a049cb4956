import type { Kernel, MethodEntry } from "@hms/kernel";
import type { RequestEnvelope } from "./request-envelope.ts";

/** Finds methods by the bytes that name them, so that names of the kernel's own are not decoded again and again. */
export class MethodLookup {
  readonly #kernel: Kernel;
  readonly #known = new Map<string, MethodEntry>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The method a request names, if the kernel serves it itself. */
  own(envelope: RequestEnvelope): MethodEntry | undefined {
    if (!envelope.contiguous) return this.#kernel.find(serviceOf(envelope), methodOf(envelope));
    const key = envelope.bytes.toString("latin1", envelope.serviceFrom, envelope.methodTo);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = this.#kernel.find(serviceOf(envelope), methodOf(envelope));
    // Only methods that exist are kept, so strangers cannot make the table grow.
    if (found !== undefined) this.#known.set(key, found);
    return found;
  }

  /**
   * The method a request names, if it is served elsewhere; asked anew each time, because what is elsewhere changes.
   * @throws HmsError UNAVAILABLE if nobody can say
   */
  elsewhere(
    envelope: RequestEnvelope,
    environment: string,
  ): MethodEntry | undefined | Promise<MethodEntry | undefined> {
    return this.#kernel.resolve({ service: serviceOf(envelope), method: methodOf(envelope), environment });
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
