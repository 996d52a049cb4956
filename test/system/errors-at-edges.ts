import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { create, createRegistry, type DescMethod, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { errorDetails, ffiErrors, status } from "@hms/contracts";
import { frameBytes, RawPeer } from "../../packages/wire/src/raw-peer.ts";

/** One call that fails, as each edge is asked to make it. */
export interface FailingCall {
  readonly method: DescMethod;
  readonly request: Record<string, unknown>;
  /** Where frames and gRPC are spoken. */
  readonly socket: string;
  /** Where HTTP is, and the call's own route there. */
  readonly url: (path: string) => string;
  readonly route: string;
  readonly token: string;
}

const registry = createRegistry(errorDetails.file_google_rpc_error_details, ffiErrors.file_hms_ffi_v1_errors);
const DETAILS = "grpc-status-details-bin";

const payloadOf = ({ method, request }: FailingCall) => toBinary(method.input, create(method.input, request));
const pathOf = ({ method }: FailingCall) => `/${method.parent.typeName}/${method.name}`;
const authorizationOf = ({ token }: FailingCall) => `Bearer ${token}`;

/** A message with its length before it, as gRPC sends it. */
function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function byFrames(call: FailingCall): Promise<Uint8Array> {
  const peer = await RawPeer.to(call.socket);
  try {
    const authorization = new BinaryWriter().tag(1, 2).string("authorization").tag(2, 2).string(authorizationOf(call));
    const named = new BinaryWriter().tag(1, 2).string(call.method.parent.typeName).tag(2, 2).string(call.method.name);
    const request = named.tag(3, 2).bytes(payloadOf(call)).tag(5, 2).bytes(authorization.finish()).finish();
    peer.send(frameBytes(1, { type: 1 }, request));
    const { data } = await peer.frame(({ stream, type }) => stream === 1 && type === 2);
    const reader = new BinaryReader(data);
    reader.tag();
    return reader.bytes();
  } finally {
    peer.socket.destroy();
  }
}

async function byGrpc(call: FailingCall): Promise<Uint8Array> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(call.socket) });
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": pathOf(call),
      "content-type": "application/grpc",
      te: "trailers",
      authorization: authorizationOf(call),
    });
    let found = "";
    const note = (headers: Record<string, unknown>) => {
      found ||= String(headers[DETAILS] ?? "");
    };
    stream.on("response", note).on("trailers", note).resume();
    stream.end(enveloped(payloadOf(call)));
    await once(stream, "close");
    return Buffer.from(found, "base64");
  } finally {
    session.destroy();
  }
}

function post(call: FailingCall, contentType: string, body: Uint8Array): Promise<Response> {
  const headers = { authorization: authorizationOf(call), "content-type": contentType };
  return fetch(call.url(pathOf(call)), { method: "POST", headers, body: Buffer.from(body) });
}

async function byGrpcWeb(call: FailingCall): Promise<Uint8Array> {
  const response = await post(call, "application/grpc-web+proto", enveloped(payloadOf(call)));
  const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
  const found = response.headers.get(DETAILS) ?? new RegExp(`${DETAILS}: *([^\\r\\n]*)`, "i").exec(body)?.[1] ?? "";
  return Buffer.from(found, "base64");
}

type Detail = readonly [type: string, bytes: string];

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function detailsOf({ details }: status.Status): Detail[] {
  return details.map(({ typeUrl, value }) => [typeUrl.replace(/^.*\//, ""), hex(value)]);
}

async function byConnect(call: FailingCall): Promise<Detail[]> {
  const response = await post(call, "application/proto", payloadOf(call));
  const { details } = (await response.json()) as { details: { type: string; value: string }[] };
  return details.map(({ type, value }) => [type, hex(Buffer.from(value, "base64"))]);
}

async function byRest(call: FailingCall): Promise<Detail[]> {
  const response = await fetch(call.url(call.route), { headers: { authorization: authorizationOf(call) } });
  const { error } = (await response.json()) as { error: { details: never } };
  return detailsOf(fromJson(status.StatusSchema, { details: error.details }, { registry }));
}

/** The google.rpc.Status of a failing call as it came over each protocol that sends one, and each protocol's details. */
export async function errorAtEdges(call: FailingCall) {
  const [frames, grpc, grpcWeb] = [await byFrames(call), await byGrpc(call), await byGrpcWeb(call)];
  const within = (bytes: Uint8Array) => detailsOf(fromBinary(status.StatusSchema, bytes));
  return {
    statuses: { frames: hex(frames), grpc: hex(grpc), grpcWeb: hex(grpcWeb) },
    details: {
      frames: within(frames),
      grpc: within(grpc),
      grpcWeb: within(grpcWeb),
      connect: await byConnect(call),
      rest: await byRest(call),
    },
  };
}
