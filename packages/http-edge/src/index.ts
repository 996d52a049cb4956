export { Edge, type EdgeOptions, type OtherTerms } from "./edge.ts";
export { createEdgeServer, type EdgeServerOptions } from "./edge-server.ts";
export type { MountContext, MountHandler, MountRule } from "./mounts.ts";
export type { RouteConflict } from "./route-table.ts";
