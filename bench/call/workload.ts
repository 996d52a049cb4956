import { createHash, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { anonymous, componentPrincipal, HmsError, implement, Kernel } from "@hms/kernel";

/** The token every call of ours carries. */
export const TOKEN = "0f9a7d2c41b84e6d8a5c3b1e7f20d946";

/** The method every contender serves. */
export const LOOKUP = registry.RegistryService.method.lookup;

/** What is asked: small and ordinary. */
export const REQUEST = create(registry.LookupRequestSchema, {
  serviceId: "hms.cdf.debate",
  version: "v1",
  environment: "default",
});

/** What is answered: one service with two instances, about 190 bytes. */
export const RESPONSE = create(registry.LookupResponseSchema, {
  service: {
    serviceId: "hms.cdf.debate",
    version: "v1",
    environment: "default",
    metadata: { language: "python", region: "eu-central-1" },
    hasContract: true,
    instances: [1, 2].map((n) => ({
      instanceId: `debate-${n}`,
      address: `unix:/run/hms/ffi/debate-${n}.sock`,
      state: registry.InstanceState.AVAILABLE,
      leaseExpiresAt: { seconds: 1_790_000_000n, nanos: n },
    })),
  },
});

/** A kernel as the server runs it: token check, policy, audit and observer are all on. */
export function pipelineKernel(): Kernel {
  const expected = createHash("sha256").update(TOKEN).digest();
  const operator = componentPrincipal("bench");
  const granted = new Set(["registry:read"]);
  const durations = new Map<string, { count: number; sumMs: number }>();
  const judged = new Map<string, boolean>();
  const known = (token: string) => {
    let good = judged.get(token);
    if (good === undefined) {
      good = timingSafeEqual(createHash("sha256").update(token).digest(), expected);
      judged.set(token, good);
    }
    return good;
  };
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token !== undefined && known(token) ? operator : anonymous) },
    policy: {
      decide: ({ principal, permission }) =>
        principal.kind !== "anonymous" && granted.has(permission)
          ? { allowed: true }
          : { allowed: false, reason: `${principal.id} has no ${permission}` },
    },
    audit: { accepts: true, record: () => {} },
    observer: {
      finished: (method, code, durationMs) => {
        const key = `${method.name} ${code}`;
        const seen = durations.get(key);
        if (seen === undefined) durations.set(key, { count: 1, sumMs: durationMs });
        else {
          seen.count += 1;
          seen.sumMs += durationMs;
        }
      },
    },
  });
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of the bench.");
  };
  const { RegistryService } = registry;
  const others = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, unused]));
  const implementation = { ...others, lookup: () => RESPONSE } as never;
  kernel.register(implement(RegistryService, implementation));
  return kernel;
}
