export { createProcessRuntime } from "./process-runtime.ts";
