export { Backoff } from "./backoff.ts";
export type { ServiceContract } from "./contract-cache.ts";
export { type Directory, type DirectoryOptions, openDirectory } from "./directory.ts";
export { type FixedPlace, fixedDirectory } from "./fixed-directory.ts";
export { type KeepRegisteredOptions, keepRegistered, type Registration } from "./keep-registered.ts";
export { keyOfContract, keyText, packageOf, type ServiceKey } from "./service-key.ts";
export type { FoundService } from "./service-slot.ts";
export { type RegistryClient, ServiceWatch } from "./service-watch.ts";
export { type HeldTicket, ticketClaims } from "./ticket-set.ts";
