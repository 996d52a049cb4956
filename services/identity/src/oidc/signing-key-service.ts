import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityKeys } from "@hms/contracts";
import { implement, type ServiceRegistration } from "@hms/kernel";
import type { SigningKeyRow, SigningKeys } from "./signing-keys.ts";

const { NEXT, CURRENT, RETIRING } = identityKeys.SigningKeyState;
const STATES = { next: NEXT, current: CURRENT, retiring: RETIRING } as const;

const keyMessage = ({ kid, state, created_at }: SigningKeyRow) => ({
  kid,
  algorithm: "ES256",
  state: STATES[state],
  createdAt: timestampFromDate(created_at),
});

/** The keys that sign tokens, by hms.identity.v1.SigningKeyService. */
export function createSigningKeyService(keys: SigningKeys): ServiceRegistration {
  return implement(identityKeys.SigningKeyService, {
    listSigningKeys: async () => ({ keys: (await keys.list()).map(keyMessage) }),
    rotateSigningKeys: async () => ({ keys: (await keys.rotate()).map(keyMessage) }),
  });
}
