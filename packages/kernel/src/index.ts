export { type AddressNetwork, networkOfAddress } from "./address-network.ts";
export { answerOrEnd } from "./answer-or-end.ts";
export { anyTypesOf } from "./any-types.ts";
export { CallContext, everyResource, type Metadata } from "./call-context.ts";
export { carefulLookup, SPECIAL_NETWORK } from "./careful-lookup.ts";
export { ChangeSignal } from "./change-signal.ts";
export { type CallOptions, type Client, createClient, type Transport } from "./client.ts";
export { EncodedMessage } from "./encoded-message.ts";
export { errorFromStatus, errorToStatus, type Status } from "./error-status.ts";
export * from "./errors.ts";
export { forwarding } from "./forwarding.ts";
export { createInProcessTransport } from "./in-process-transport.ts";
export { Kernel } from "./kernel.ts";
export type { CallOrigin, IncomingCall, KernelOptions } from "./kernel-options.ts";
export { AnswerFields, type FieldReaders, metadataOfFields } from "./metadata-fields.ts";
export { type MethodEntry, type MethodRule, methodRule } from "./method-entry.ts";
export {
  narrowOutgoing,
  OutgoingSocket,
  outgoingAddress,
  outgoingTo,
} from "./outgoing.ts";
export { NOT_OUTGOING, OutgoingHosts, outgoingEntryProblem } from "./outgoing-hosts.ts";
export type {
  AuditEvent,
  AuditSink,
  CallObserver,
  CallSource,
  CallTrace,
  CallTracer,
  CallWay,
  Credentials,
  DecisionGround,
  EndedCall,
  FilterQuestion,
  IdentitySource,
  MethodName,
  MethodSource,
  Policy,
  PolicyDecision,
  PolicyQuestion,
  RequestValidator,
  ResourceFilter,
  ResourcePredicate,
  ResourceRow,
  StepUp,
} from "./ports.ts";
export {
  anonymous,
  componentPrincipal,
  isWithinScopes,
  livesElsewhere,
  type Principal,
  principalName,
  spokenName,
} from "./principal.ts";
export { redactedRequest } from "./redacted-request.ts";
export {
  implement,
  type MethodHandler,
  type ServiceImplementation,
  type ServiceRegistration,
} from "./service-implementation.ts";
