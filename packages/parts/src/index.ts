export { type ForwardedServicesOptions, forwardedServices } from "./forwarded-services.ts";
export { partContracts } from "./part-contracts.ts";
export { createPartIdentity, type PartIdentityOptions, partSpiffeId } from "./part-identity.ts";
export { PartTickets, partKeyOf } from "./part-tickets.ts";
