import { identityCredentials } from "@hms/contracts";
import { componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { expect, test } from "vitest";
import { createCredentialService } from "./credential-service.ts";
import { Revocations } from "./revocations.ts";

function identifying(principal: Principal) {
  const kernel = new Kernel({
    identity: { authenticate: () => principal },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  const ground = {
    identity: { authenticate: () => principal },
    peer: async () => principal,
    permits: () => false,
    revocations: new Revocations(),
    isInTouch: () => true,
  };
  kernel.register(createCredentialService(ground));
  const client = kernel.client(identityCredentials.CredentialService, componentPrincipal("dataplane"));
  return client.identify({ token: "t", peer: "", permission: "" });
}

test("a data plane is told when somebody last showed who they are, and that a key's owner never did", async () => {
  const anna = { kind: "user", id: "anna", mfa: true, authenticatedAtMs: 1_800_000_000_123.7 } as const;
  expect(await identifying(anna)).toMatchObject({ known: true, mfa: true, authenticatedAtMs: 1_800_000_000_123n });
  expect(await identifying({ kind: "user", id: "anna" })).toMatchObject({ mfa: false, authenticatedAtMs: 0n });
});
