export { type DeafSource, openDeafSource } from "./deaf-source.ts";
export { type EchoContract, echoContract, echoKernel } from "./echo-contract.ts";
export { expositionProblems } from "./exposition-problems.ts";
export { freePort } from "./free-port.ts";
export { hostServices, type OpenHosted } from "./host-program.ts";
export { machineSlowness } from "./machine-slowness.ts";
export { namesLeadTo } from "./names-lead-to.ts";
export { type NodeProgram, type NodeProgramOptions, startNodeProgram } from "./node-program.ts";
export { collectProcesses, type ProcessCollection, type ProcessEntry } from "./processes.ts";
export { type HostedOptions, type HostedService, ServiceHost } from "./service-host.ts";
export { type TempFolder, tempFolder } from "./temp-folder.ts";
export { type TempInstance, type TempInstanceOptions, tempInstance } from "./temp-instance.ts";
export { type TestAuthority, type TestCertificate, testAuthority } from "./test-authority.ts";
export {
  type EmptyDatabase,
  openEmptyDatabase,
  openTestDatabase,
  type SharedPostgres,
  sharedPostgres,
  type TestDatabase,
  type TestDatabaseOptions,
} from "./test-database.ts";
export { startTestPostgres, type TestPostgres, type TestPostgresOptions } from "./test-postgres.ts";
export {
  defaultVia,
  endTransports,
  type HostedTransport,
  nearTransports,
  openHostedTransport,
  openTestTransport,
  type TestTransport,
  type TestVia,
  testTransports,
} from "./test-transport.ts";
export { casesOf, isThorough } from "./thorough.ts";
export { type WaitOptions, waitFor } from "./wait-for.ts";
