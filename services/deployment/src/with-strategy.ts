import { HmsError } from "@hms/kernel";
import type { Manifest } from "@hms/manifest";

const STRATEGIES = ["rolling", "canary", "blue-green"] as const;

/** A manifest that is rolled out in another way than it says. @throws HmsError INVALID_ARGUMENT */
export function withStrategy(manifest: Manifest, asked: string): Manifest {
  if (asked === "") return manifest;
  const strategy = STRATEGIES.find((each) => each === asked);
  if (strategy) return { ...manifest, rollout: { ...manifest.rollout, strategy } };
  const description = `"${asked.slice(0, 80)}" is no strategy. Use ${STRATEGIES.join(", ")}.`;
  throw new HmsError("INVALID_ARGUMENT", `strategy: ${description}`, {
    fieldViolations: [{ field: "strategy", description }],
  });
}
