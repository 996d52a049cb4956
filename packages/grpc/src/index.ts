export { alsoHttp2, type OtherConnections } from "./also-http2.ts";
export { type ConnectGrpcOptions, connectGrpc, type GrpcTransport } from "./grpc-transport.ts";
export { httpProtocols, peerOf } from "./http-protocols.ts";
export { rpcContextOf } from "./rpc-call.ts";
export { createRpcListener, type RpcListener, type RpcListenerOptions } from "./rpc-listener.ts";
export { type Liveness, probe, type ReflectionCall, reflectionCall } from "./server-probe.ts";
