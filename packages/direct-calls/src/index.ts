export { type Channel, type ChannelScheme, type ChannelSchemes, connectSchemes, frameSchemes } from "./channel.ts";
export { connectHttp } from "./connect-channel.ts";
export { createDirectCalls, type DirectCalls, type DirectCallsOptions } from "./direct-calls.ts";
export { createElsewhere, type Elsewhere } from "./elsewhere.ts";
export type { CallExplanation, InstanceExplanation } from "./explain-calls.ts";
export { preferring, TRANSPORTS, type TransportName } from "./preferred-schemes.ts";
export { type KnownMethod, type MessageTypes, ServiceMethods } from "./service-methods.ts";
export { tracedCalls } from "./traced-calls.ts";
export { type MethodStreams, UntypedContracts } from "./untyped-contracts.ts";
