import { createServer as createHttp2Server } from "node:http2";
import { connect } from "node:net";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient as createConnectClient } from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import {
  credentials,
  Client as GrpcClient,
  Server as GrpcServer,
  type MethodDefinition,
  ServerCredentials,
} from "@grpc/grpc-js";
import { registry } from "@hms/contracts";
import { Client, openTelemetryTracer, serve } from "@hms/ffi";
import { createClient } from "@hms/kernel";
import { connectSocket, serveSocket } from "@hms/wire";
import { connect as connectNats } from "@nats-io/transport-node";
import { PLAIN_REQUEST, PLAIN_RESPONSE, SERVICE_ID, sdkContract } from "./sdk-service.ts";
import { freshTicket, LOOKUP, pipelineKernel, REQUEST, RESPONSE } from "./workload.ts";

type Call = () => Promise<unknown>;

/** A ticket is renewed after this long, as it lives for a minute. */
const RENEW_MS = 30_000;
/** A trace that is not sampled: its context travels with every call. */
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

/** One way of making the same call over a unix socket. */
export interface CallContender {
  serve(path: string): Promise<void>;
  /** Connects and answers with the function that makes one call. */
  client(path: string): Call | Promise<Call>;
}

const bytesOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const grpcLookup: MethodDefinition<typeof REQUEST, typeof RESPONSE> = {
  path: `/${LOOKUP.parent.typeName}/${LOOKUP.name}`,
  requestStream: false,
  responseStream: false,
  requestSerialize: (message) => bytesOf(toBinary(LOOKUP.input, message)),
  requestDeserialize: (bytes) => fromBinary(LOOKUP.input, bytes),
  responseSerialize: (message) => bytesOf(toBinary(LOOKUP.output, message)),
  responseDeserialize: (bytes) => fromBinary(LOOKUP.output, bytes),
};

/** Everything that is measured. All use the same messages and the same protobuf library. */
export const contenders: Record<string, CallContender> = {
  hms: {
    async serve(registryUrl) {
      const service = await serve({
        serviceId: SERVICE_ID,
        contract: sdkContract(),
        methods: { Lookup: () => PLAIN_RESPONSE },
        tracer: openTelemetryTracer(),
        registryUrl,
        token: "svc",
      });
      await service.registered;
    },
    async client(registryUrl) {
      const client = new Client(SERVICE_ID, { registryUrl, token: "anna" });
      let span = 0;
      return () => {
        span += 1;
        const traceparent = `00-${TRACE_ID}-${span.toString(16).padStart(16, "0")}-00`;
        return client.call("Lookup", PLAIN_REQUEST, { metadata: { traceparent } });
      };
    },
  },
  hms_frames: {
    async serve(path) {
      await serveSocket(pipelineKernel(), { path });
    },
    client(path) {
      const client = createClient(registry.RegistryService, connectSocket({ path }));
      let authorization = "";
      let renewAt = 0;
      let span = 0;
      return () => {
        if (performance.now() >= renewAt) {
          authorization = `Ticket ${freshTicket()}`;
          renewAt = performance.now() + RENEW_MS;
        }
        span += 1;
        const traceparent = `00-${TRACE_ID}-${span.toString(16).padStart(16, "0")}-00`;
        return client.lookup(REQUEST, { metadata: { authorization, traceparent } });
      };
    },
  },
  nats: {
    async serve(server) {
      const connection = await connectNats({ servers: server });
      connection.subscribe("lookup", {
        callback: (_, message) => {
          fromBinary(LOOKUP.input, message.data);
          message.respond(toBinary(LOOKUP.output, RESPONSE));
        },
      });
      await connection.flush();
    },
    async client(server) {
      const connection = await connectNats({ servers: server });
      return async () => {
        const answer = await connection.request("lookup", toBinary(LOOKUP.input, REQUEST), { timeout: 10_000 });
        return fromBinary(LOOKUP.output, answer.data);
      };
    },
  },
  grpc_js: {
    async serve(path) {
      const server = new GrpcServer();
      server.addService(
        { lookup: grpcLookup },
        { lookup: (_: unknown, done: (e: null, r: unknown) => void) => done(null, RESPONSE) },
      );
      await new Promise<void>((resolve, reject) => {
        server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        );
      });
    },
    client(path) {
      const client = new GrpcClient(`unix:${path}`, credentials.createInsecure());
      const { requestSerialize, responseDeserialize } = grpcLookup;
      return () =>
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(grpcLookup.path, requestSerialize, responseDeserialize, REQUEST, (error, answer) =>
            error ? reject(error) : resolve(answer),
          );
        });
    },
  },
  connect_node: {
    async serve(path) {
      const routes = connectNodeAdapter({
        routes: (router) => router.service(registry.RegistryService, { lookup: () => RESPONSE }),
      });
      const server = createHttp2Server(routes);
      await new Promise<void>((resolve) => server.listen(path, resolve));
    },
    client(path) {
      const transport = createConnectTransport({
        // The fastest of its protocols over a unix socket: gRPC takes 1.5 times as much CPU, HTTP/1.1 1.3 times.
        httpVersion: "2",
        baseUrl: "http://localhost",
        nodeOptions: { createConnection: () => connect(path) },
      });
      const client = createConnectClient(registry.RegistryService, transport);
      return () => client.lookup(REQUEST);
    },
  },
};
