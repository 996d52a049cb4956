import { HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { translatePgError } from "./pg-error.ts";

const pgError = (fields: Record<string, string>) =>
  Object.assign(new Error(fields.message ?? "from the server"), fields);

describe("an error of the database", () => {
  test.each([
    ["23505", "ALREADY_EXISTS"],
    ["23503", "FAILED_PRECONDITION"],
    ["23502", "INVALID_ARGUMENT"],
    ["22P02", "INVALID_ARGUMENT"],
    ["40001", "ABORTED"],
    ["40P01", "ABORTED"],
    ["53100", "RESOURCE_EXHAUSTED"],
    ["53200", "RESOURCE_EXHAUSTED"],
    ["53300", "UNAVAILABLE"],
    ["57P01", "UNAVAILABLE"],
    ["57P03", "UNAVAILABLE"],
    ["08006", "UNAVAILABLE"],
    ["57014", "DEADLINE_EXCEEDED"],
    ["28P01", "UNAUTHENTICATED"],
    ["42501", "PERMISSION_DENIED"],
    ["42703", "INTERNAL"],
    ["XX001", "DATA_LOSS"],
    ["ECONNREFUSED", "UNAVAILABLE"],
    ["ENOENT", "UNAVAILABLE"],
    ["EAGAIN", "UNAVAILABLE"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "FAILED_PRECONDITION"],
  ])("with the code %s is %s", (code, expected) => {
    expect(translatePgError(pgError({ code })).code).toBe(expected);
  });

  test.each([
    ["Connection terminated unexpectedly", "UNAVAILABLE"],
    ["Client has encountered a connection error and is not queryable", "UNAVAILABLE"],
    ["timeout exceeded when trying to connect", "UNAVAILABLE"],
    ["Query read timeout", "DEADLINE_EXCEEDED"],
    ["Cannot use a pool after calling end on the pool", "CANCELLED"],
    ["Transaction was rolled back instead of committed", "ABORTED"],
    ["something new", "INTERNAL"],
  ])("that says only “%s” is %s", (message, expected) => {
    expect(translatePgError(new Error(message)).code).toBe(expected);
  });

  test("names the constraint for programs and keeps the values out of the message", () => {
    const error = pgError({
      code: "23505",
      constraint: "users_email_key",
      detail: "Key (email)=(a@b.c) already exists.",
    });
    const translated = translatePgError(error);
    expect(translated.details.metadata).toEqual({ sqlstate: "23505", constraint: "users_email_key" });
    expect(translated.message).not.toContain("a@b.c");
    expect(translated.cause).toBe(error);
  });

  test("that is ours already passes unchanged", () => {
    const ours = new HmsError("NOT_FOUND", "no such thing");
    expect(translatePgError(ours)).toBe(ours);
  });
});
