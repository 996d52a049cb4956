export type { ServiceContract } from "./contract-cache.ts";
export { type Directory, type DirectoryOptions, openDirectory } from "./directory.ts";
export { keyOfContract, keyText, packageOf, type ServiceKey } from "./service-key.ts";
export type { FoundService } from "./service-slot.ts";
export type { RegistryClient } from "./service-watch.ts";
export { type HeldTicket, ticketClaims } from "./ticket-set.ts";
