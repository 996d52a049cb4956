import type { DescService } from "@bufbuild/protobuf";
import { keyOfContract } from "@hms/directory";
import { createClient as createKernelClient, type Client as KernelClient, type Transport } from "@hms/kernel";
import { shareConnection } from "./connection.ts";
import { FfiError } from "./errors.ts";
import { type ConnectOptions, resolveSettings } from "./settings.ts";

/** A client with a function for each method of a generated contract; its messages are the generated ones. */
export type TypedClient<S extends DescService> = KernelClient<S> & AsyncDisposable;

/**
 * Makes a client of a generated contract (by protoc-gen-es).
 * @throws FfiError INVALID_ARGUMENT if a setting is wrong, FAILED_PRECONDITION if no registry is set
 */
export function createClient<S extends DescService>(service: S, options: ConnectOptions = {}): TypedClient<S> {
  try {
    const { connection, release } = shareConnection(resolveSettings(options));
    const key = keyOfContract(service.typeName, connection.settings.environment);
    const client = createKernelClient(service, translating(connection.calls.transport(key)));
    return Object.assign(client, { [Symbol.asyncDispose]: release }) as TypedClient<S>;
  } catch (error) {
    throw FfiError.of(error);
  }
}

/** Errors of the class of their code. */
function translating(inner: Transport): Transport {
  return {
    unary: (method, input, options) =>
      inner.unary(method, input, options).catch((error) => {
        throw FfiError.of(error);
      }),
    async *stream(method, inputs, options) {
      try {
        yield* inner.stream(method, inputs, options);
      } catch (error) {
        throw FfiError.of(error);
      }
    },
  };
}
