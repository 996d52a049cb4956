import type { Endpoint } from "./endpoint.ts";

/** What every exchange needs of its engine. */
export interface EngineContext {
  readonly maxRequestBodyBytes: number;
  readonly idleBodyTimeoutMs: number;
  /** The engine closes: connections are not kept. */
  readonly isClosing: boolean;
  /** An exchange or tunnel has left an endpoint. */
  onEndpointLeft(endpoint: Endpoint): void;
}
