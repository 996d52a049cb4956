import { partNames } from "@hms/config";
import { describe, expect, test } from "vitest";
import { whereIs } from "./completion-place.ts";

const at = (line: string) => whereIs(line.split(" "));

describe("the word to complete", () => {
  test("is a command at first, also after global options", () => {
    expect(at("")).toEqual({ kind: "command" });
    expect(at("-e prod -q st")).toEqual({ kind: "command" });
  });

  test("is a service where a command wants one, in the environment and installation that were chosen", () => {
    expect(at("status rec")).toMatchObject({ kind: "value", completes: "service", environment: "default" });
    expect(at("--instance two logs -e prod ")).toMatchObject({
      completes: "service",
      environment: "prod",
      instance: "two",
    });
  });

  test("is a value after an option that takes one", () => {
    expect(at("services -o ")).toMatchObject({ completes: ["text", "json"] });
    expect(at("rollback pay-svc --to ")).toMatchObject({ completes: "revision", service: "pay-svc" });
    expect(at("logs pay-svc --replica ")).toMatchObject({ completes: "replica", service: "pay-svc" });
    expect(at("logs pay-svc --grep ")).toEqual({ kind: "unknown" });
  });

  test("is one of the command's flags, or a global one, after a hyphen", () => {
    const place = at("rm pay-svc --");
    const flags = place.kind === "flag" ? place.flags.map(([flag]) => flag) : [];
    expect(flags).toEqual(expect.arrayContaining(["--yes", "--timeout", "--env", "--help"]));
    expect(flags).not.toContain("--grep");
  });

  test("is no flag that is known only to be refused", () => {
    const place = at("secrets set payment-key --");
    const flags = place.kind === "flag" ? place.flags.map(([flag]) => flag) : [];
    expect(flags).toContain("--from-file");
    expect(flags).not.toContain("--value");
    expect(at("secrets reveal ")).toMatchObject({ completes: "secret" });
  });

  test("is a shell, a component, a rollout or a key of the manifest where these belong", () => {
    expect(at("completion ")).toMatchObject({ completes: ["bash", "zsh", "fish"] });
    expect(at("restart-component ")).toMatchObject({ completes: ["server", "dataplane", "postgres", ...partNames] });
    expect(at("watch ")).toMatchObject({ completes: "rollout" });
    expect(at("explain manifest.h")).toMatchObject({ completes: "manifest-key" });
  });

  test("is nothing of ours after all arguments, and after --", () => {
    expect(at("scale pay-svc 3 ")).toEqual({ kind: "unknown" });
    expect(at("run pay-svc -- ls -")).toEqual({ kind: "unknown" });
  });
});
