export { type Channel, type ChannelScheme, type ChannelSchemes, defaultSchemes } from "./channel.ts";
export { createDirectCalls, type DirectCalls, type DirectCallsOptions } from "./direct-calls.ts";
export type { CallExplanation, InstanceExplanation } from "./explain-calls.ts";
