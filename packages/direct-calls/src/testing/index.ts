export { type EchoContract, echoContract, texts, valuesOf } from "./echo-contract.ts";
export { openTestPlatform, type TestPlatform } from "./test-platform.ts";
