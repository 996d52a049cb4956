export { createRequestValidator } from "./request-validator.ts";
