export { type EchoContract, echoContract, texts, valuesOf } from "./echo-contract.ts";
export { type EchoHandlers, kernelOf } from "./echo-kernel.ts";
export { openTestPlatform, type TestPlatform } from "./test-platform.ts";
