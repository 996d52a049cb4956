import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";

/** A gRPC server that knows nothing of the registry, made of gRPC's own libraries. */
export interface StockServer extends AsyncDisposable {
  /** "grpc://127.0.0.1:50051". */
  readonly address: string;
  /** What each call brought besides its request, in the order of the calls. */
  readonly metadata: readonly Record<string, unknown>[];
  /** What it answers to grpc.health.v1. */
  setServing(serving: boolean): void;
}

/** How a server is made. */
export interface StockServerOptions {
  /** Files of `fixtures`, "greeter". */
  protos: readonly string[];
  /** Default: any free one. */
  port?: number;
  /** Default true. */
  reflection?: boolean;
  /** Default true. */
  health?: boolean;
}

interface StockCall {
  request: { name?: string };
  metadata: grpc.Metadata;
}
type Handlers = Record<string, (call: StockCall, answer: (error: object | null, value?: object) => void) => void>;

/** Whoever has this name breaks the greeter: INTERNAL. */
const BROKEN = "broken";

/** Starts a server on the loopback interface that greets whoever a request names; disposing it cuts all connections. */
export async function startStockServer(options: StockServerOptions): Promise<StockServer> {
  const { protos, port = 0, reflection = true, health = true } = options;
  const files = protos.map((name) => fileURLToPath(new URL(`../fixtures/${name}.proto`, import.meta.url)));
  const definition = loadSync(files);
  const server = new grpc.Server();
  const metadata: Record<string, unknown>[] = [];
  for (const service of Object.values(definition)) {
    if ("format" in service) continue;
    const handlers: Handlers = {};
    for (const name of Object.keys(service)) {
      handlers[name] = (call, answer) => {
        metadata.push(call.metadata.getMap());
        const { name: whom } = call.request;
        if (whom === BROKEN) answer({ code: grpc.status.INTERNAL, details: "the greeter is broken" });
        else answer(null, { message: `Hello ${whom}` });
      };
    }
    server.addService(service, handlers as never);
  }
  if (reflection) new ReflectionService(definition).addToServer(server);
  const implementation = new HealthImplementation({ "": "SERVING" });
  if (health) implementation.addToServer(server);
  const bound = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, number) => (error ? reject(error) : resolve(number)));
  });
  return {
    address: `grpc://127.0.0.1:${bound}`,
    metadata,
    setServing: (serving) => implementation.setStatus("", serving ? "SERVING" : "NOT_SERVING"),
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
}
