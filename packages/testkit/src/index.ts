export { freePort } from "./free-port.ts";
export { collectProcesses, type ProcessCollection, type ProcessEntry } from "./processes.ts";
export { type TempInstance, type TempInstanceOptions, tempInstance } from "./temp-instance.ts";
export { openTestDatabase, type TestDatabase, type TestDatabaseOptions, testPostgres } from "./test-database.ts";
export { startTestPostgres, type TestPostgres, type TestPostgresOptions } from "./test-postgres.ts";
export { openTestTransport, type TestTransport, testTransports } from "./test-transport.ts";
export { type WaitOptions, waitFor } from "./wait-for.ts";
