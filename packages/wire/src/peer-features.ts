import { Feature, type Hello, STREAM_WINDOW_BYTES } from "./hello.ts";

/** What is known of the other side: nothing yet, that it has no extensions, or what its HELLO said. */
export class PeerFeatures {
  #hello: Hello | "stock" | undefined;

  /** True once it is clear what the peer can do. */
  get known(): boolean {
    return this.#hello !== undefined;
  }

  /** Notes the peer's HELLO, or that its first frame was another. */
  meet(hello: Hello | "stock"): void {
    this.#hello ??= hello;
  }

  /** True if the peer has announced an extension. */
  has(feature: (typeof Feature)[keyof typeof Feature]): boolean {
    return typeof this.#hello === "object" && (this.#hello.features & feature) !== 0;
  }

  /** Bytes the peer takes on a new stream; undefined if it sets no windows. */
  get streamWindow(): number | undefined {
    if (!this.has(Feature.WINDOW)) return undefined;
    return (this.#hello as Hello).streamWindow || STREAM_WINDOW_BYTES;
  }
}
