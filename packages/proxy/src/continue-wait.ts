import type { Socket } from "node:net";

const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
/** A client that expects 100 gets it from us if the service says nothing for this long. */
const CONTINUE_AFTER_MS = 1_000;

/** A client that sends its body only once somebody agrees to it (`Expect: 100-continue`). */
export class ContinueWait {
  readonly #socket: Socket;
  readonly #onGranted: () => void;
  #timer: NodeJS.Timeout | null = null;

  constructor(socket: Socket, onGranted: () => void) {
    this.#socket = socket;
    this.#onGranted = onGranted;
  }

  /** Whether the client waits: its body has not begun. */
  get isPending(): boolean {
    return this.#timer !== null;
  }

  /** The client waits from now on, for a second at most. */
  begin(): void {
    this.#timer = setTimeout(() => this.grant(), CONTINUE_AFTER_MS);
  }

  /** Tells a client that waits to go on. */
  grant(): void {
    if (this.#timer === null) return;
    this.end();
    this.#socket.write(CONTINUE, "latin1");
    this.#onGranted();
  }

  /** Nobody waits any longer. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
