import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { compareContracts } from "./contract-comparison.ts";
import { type OfferRequest, readOffer } from "./contract-offer.ts";
import { contractFiles } from "./contract-store.ts";
import { contractUnknown, invalid, serviceUnknown } from "./errors.ts";
import type { Patiently } from "./lookup.ts";
import { nearestIds } from "./nearest-ids.ts";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryStore } from "./store.ts";

/**
 * The stored contract of a service version.
 * @throws HmsError NOT_FOUND if it has none, with the nearest names if there is no such service.
 */
export async function getContract(
  store: RegistryStore,
  key: ServiceKey,
  patiently: Patiently,
): Promise<MessageInitShape<typeof registry.GetContractResponseSchema>> {
  const stored = await patiently(() => store.contract(key));
  if (stored) {
    const { digest: contractDigest, storedAt } = stored;
    const fileDescriptorSet = new Uint8Array(stored.fileDescriptorSet);
    return { fileDescriptorSet, contractDigest, storedAt: timestampFromDate(storedAt) };
  }
  if (await patiently(() => store.find(key))) throw contractUnknown(key);
  const { versions, serviceIds } = await patiently(() => store.names(key));
  throw serviceUnknown(key, { versions, serviceIds: nearestIds(key.serviceId, serviceIds) });
}

/**
 * How a contract would differ from the stored one.
 * @throws HmsError INVALID_ARGUMENT if it is none.
 */
export async function checkContract(
  store: RegistryStore,
  { key, request }: { key: ServiceKey; request: OfferRequest },
  patiently: Patiently,
): Promise<MessageInitShape<typeof registry.CheckContractResponseSchema>> {
  const reading = readOffer(request, key);
  if ("violations" in reading) throw invalid("The contract", reading.violations);
  if (reading.offer === undefined) {
    const description = "is missing; send it, or method_schemas.";
    throw invalid("The contract", [{ field: "file_descriptor_set", description }]);
  }
  const stored = await patiently(() => store.contract(key));
  const before = contractFiles(stored);
  return {
    known: stored !== undefined,
    differences: compareContracts(
      before,
      reading.offer(() => before),
    ),
  };
}
