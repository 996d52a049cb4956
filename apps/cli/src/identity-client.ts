import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@hms/kernel";
import type { Session } from "./session.ts";

/** A client of one of the identity services at the platform's socket. */
export function identityClient<S extends DescService>({ platform }: Session, service: S): Client<S> {
  return createClient(service, platform);
}
