export { originOf } from "./call-origin.ts";
export { type ForwardedServicesOptions, forwardedServices } from "./forwarded-services.ts";
export { partContracts } from "./part-contracts.ts";
export { createPartIdentity, type PartIdentityOptions, partSpiffeId } from "./part-identity.ts";
export {
  type PartListener,
  type PartPlacement,
  type PlacementOptions,
  placeParts,
} from "./part-placement.ts";
export { PartTickets, partKeyOf } from "./part-tickets.ts";
export { openTlsFiles, requireServerFiles, type TlsFiles, tlsFilesIn } from "./tls-files.ts";
