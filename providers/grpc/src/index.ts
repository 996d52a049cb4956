export { createGrpcServers, type GrpcServersOptions } from "./grpc-servers.ts";
