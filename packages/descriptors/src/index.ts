export { type Contract, type ContractReading, readContract, servicesOf } from "./contract.ts";
export { type ContractDifference, contractDifferences, differenceText } from "./contract-differences.ts";
export { descriptorSetOf, readDescriptorSet, writeDescriptorSet } from "./descriptor-set.ts";
