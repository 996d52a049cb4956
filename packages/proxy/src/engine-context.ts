import type { Endpoint } from "./endpoint.ts";
import type { Sensors } from "./sensors.ts";

/** What every exchange needs of its engine. */
export interface EngineContext {
  readonly maxRequestBodyBytes: number;
  readonly idleBodyTimeoutMs: number;
  /** The engine closes: connections are not kept. */
  readonly isClosing: boolean;
  readonly sensors: Sensors;
  /** An exchange or tunnel has left an endpoint. */
  onEndpointLeft(endpoint: Endpoint): void;
}
