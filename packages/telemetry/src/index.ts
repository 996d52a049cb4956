export { createLogger, type LogFields, type Logger } from "./logger.ts";
