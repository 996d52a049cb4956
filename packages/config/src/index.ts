export { readApart, writeApart } from "./apart-parts.ts";
export { type DatabaseRole, readDatabaseRoles, writeDatabaseRoles } from "./database-roles.ts";
export { assertEncryptedWays } from "./encrypted-ways.ts";
export { type FfiEnvironment, ffiEnvironment } from "./ffi-environment.ts";
export { ensureFfiFolders } from "./ffi-folders.ts";
export {
  changedGatewayListen,
  formatGatewayAddress,
  type GatewayAddress,
  type GatewayListen,
  parseGatewayAddresses,
  readGatewayListen,
  type WantedGatewayListen,
  writeGatewayListen,
} from "./gateway-listen.ts";
export { type HostEnvironment, hostEnvironment, hostVariable } from "./host-environment.ts";
export { type InstanceNetwork, readNetwork, tlsPortFor, writeNetwork } from "./instance-network.ts";
export { type InstancePaths, type InstanceSelector, resolveInstance } from "./instance-paths.ts";
export { parseNetworkAddress, readNetworkAddress, writeNetworkAddress } from "./network-address.ts";
export { isPartName, type PartName, partNames, partSocket, readPartNames } from "./part-name.ts";
export { launcherPath, type ProgramName, productVersion, programPath } from "./program-path.ts";
export {
  parseRoutesDefaultAuth,
  type RoutesDefaultAuth,
  readRoutesDefaultAuth,
  writeRoutesDefaultAuth,
} from "./routes-default-auth.ts";
