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
import { createClient } from "@hms/kernel";
import { connectSocket, serveSocket } from "@hms/wire";
import { connect as connectNats } from "@nats-io/transport-node";
import { sdkContender } from "./sdk-contender.ts";
import { unsampledTraceparent } from "./traceparent.ts";
import { freshTicket, LOOKUP, pipelineKernel, REQUEST, RESPONSE } from "./workload.ts";

type Call = () => Promise<unknown>;

/** A ticket is renewed after this long, as it lives for a minute. */
const RENEW_MS = 30_000;

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

/** Everything that is measured. All use the same messages; all but ours leave them to the same protobuf library. */
export const contenders: Record<string, CallContender> = {
  hms: sdkContender,
  hms_frames: {
    async serve(path) {
      await serveSocket(pipelineKernel(), { path });
    },
    client(path) {
      const client = createClient(registry.RegistryService, connectSocket({ path }));
      let authorization = "";
      let renewAt = 0;
      return () => {
        if (performance.now() >= renewAt) {
          authorization = `Ticket ${freshTicket()}`;
          renewAt = performance.now() + RENEW_MS;
        }
        return client.lookup(REQUEST, { metadata: { authorization, traceparent: unsampledTraceparent() } });
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
