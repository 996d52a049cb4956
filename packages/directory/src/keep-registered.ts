import { setTimeout as pause } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { Backoff } from "./backoff.ts";
import type { RegistryClient } from "./service-watch.ts";

const CALL_TIMEOUT_MS = 5_000;
const FAREWELL_TIMEOUT_MS = 2_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/** What is registered, and who hears of it. */
export interface KeepRegisteredOptions {
  readonly registry: RegistryClient;
  /** The first registration; renewals leave the contract out, because the registry keeps it. */
  readonly request: MessageInitShape<typeof registry.RegisterRequestSchema>;
  /** Hears each answer: the ticket key may be another one after the registry has lost what it knew. */
  readonly onRegistered?: (answer: registry.RegisterResponse) => void;
  /** Hears what fails; it is tried again. */
  readonly onFailure?: (failure: HmsError) => void;
}

/** An instance that stays registered until this is disposed; then it is unregistered, or its lease runs out. */
export interface Registration extends AsyncDisposable {
  /**
   * The first answer, however long the registry is away.
   * @throws HmsError if the registry refuses the instance for good
   */
  readonly registered: Promise<registry.RegisterResponse>;
}

/** Registers an instance and renews its lease, with its contract again if the registry asks for it. */
export function keepRegistered(options: KeepRegisteredOptions): Registration {
  const end = new AbortController();
  const first = Promise.withResolvers<registry.RegisterResponse>();
  // Whoever does not ask for the first answer hears of failures by `onFailure`.
  first.promise.catch(() => {});
  const running = renewUntilEnd(options, end.signal, first);
  return {
    registered: first.promise,
    async [Symbol.asyncDispose]() {
      end.abort(new HmsError("CANCELLED", "The service has been closed."));
      const wasRegistered = await running;
      first.reject(end.signal.reason);
      if (wasRegistered) await takeLeave(options);
    },
  };
}

const REFUSALS = new Set([
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "FAILED_PRECONDITION",
  "ALREADY_EXISTS",
]);

async function renewUntilEnd(
  options: KeepRegisteredOptions,
  signal: AbortSignal,
  first: { resolve(answer: registry.RegisterResponse): void; reject(error: unknown): void },
): Promise<boolean> {
  const { request, onRegistered, onFailure } = options;
  const renewal = { ...request, fileDescriptorSet: new Uint8Array(), methodSchemas: [] };
  const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  let registered = false;
  while (!signal.aborted) {
    let pauseMs: number;
    try {
      const sent = registered ? renewal : request;
      const answer = await options.registry.register(sent, { signal, timeoutMs: CALL_TIMEOUT_MS });
      registered = true;
      backoff.reset();
      first.resolve(answer);
      onRegistered?.(answer);
      pauseMs = answer.renewInterval ? durationMs(answer.renewInterval) : LONGEST_PAUSE_MS;
    } catch (error) {
      if (signal.aborted) break;
      const failure = HmsError.from(error);
      onFailure?.(failure);
      if (!registered && REFUSALS.has(failure.code)) {
        first.reject(failure);
        return false;
      }
      pauseMs = backoff.next();
    }
    await pause(pauseMs, undefined, { signal, ref: false }).catch(() => {});
  }
  return registered;
}

async function takeLeave({ registry: client, request, onFailure }: KeepRegisteredOptions): Promise<void> {
  const { serviceId = "", version = "", environment = "", instanceId = "" } = request;
  try {
    await client.unregister({ serviceId, version, environment, instanceId }, { timeoutMs: FAREWELL_TIMEOUT_MS });
  } catch (error) {
    onFailure?.(HmsError.from(error));
  }
}
