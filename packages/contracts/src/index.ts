export * as errorDetails from "./gen/google/rpc/error_details_pb.ts";
export * as status from "./gen/google/rpc/status_pb.ts";
export * as ffiErrors from "./gen/hms/ffi/v1/errors_pb.ts";
export * as ffiOptions from "./gen/hms/ffi/v1/options_pb.ts";
export * as registry from "./gen/hms/ffi/v1/registry_pb.ts";
export * as agent from "./gen/hms/sys/agent/v1/agent_pb.ts";
export * as deployment from "./gen/hms/sys/deployment/v1/deployment_pb.ts";
export * as mesh from "./gen/hms/sys/mesh/v1/mesh_pb.ts";
