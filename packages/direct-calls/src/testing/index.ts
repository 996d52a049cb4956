export { type EchoContract, echoContract } from "./echo-contract.ts";
export { openTestPlatform, type TestPlatform } from "./test-platform.ts";
