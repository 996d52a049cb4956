export { type Contract, type ContractReading, readContract, servicesOf } from "./contract.ts";
export { type ContractDifference, contractDifferences, differenceText } from "./contract-differences.ts";
export { contractDigest } from "./contract-digest.ts";
export { descriptorSetOf, readDescriptorSet, writeDescriptorSet } from "./descriptor-set.ts";
export { isUntyped, ruleOf } from "./method-rule.ts";
export { type ReflectedServer, type ReflectionCall, type ReflectOptions, reflectServer } from "./reflection.ts";
export { contractOfSchemas, type SchemaContract, type SchemaContractOptions } from "./schema-contract.ts";
export type { SchemaNote } from "./schema-messages.ts";
export { type ServiceName, serviceNameOf } from "./service-name.ts";
