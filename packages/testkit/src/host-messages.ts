import type { PartName } from "@hms/config";
import type { TestCertificate } from "./test-authority.ts";

/** What a host is to serve, and where. */
export interface HostScene {
  readonly part: PartName;
  /** "unix:/path" or "tls://127.0.0.1:0". */
  readonly address: string;
  readonly tls?: (TestCertificate & { readonly ca: string }) | undefined;
  /** The key of the parts, in hexadecimal. */
  readonly key: string;
  /** For the program that opens the service; plain JSON. */
  readonly options: unknown;
}

/** What a host is asked: to open a scene, or to end the one that it opened under this id. */
export interface HostQuestion {
  readonly id: number;
  readonly scene?: HostScene;
}

/** What a host says when it has done so, or why it could not. */
export interface HostAnswer {
  readonly id: number;
  readonly address?: string;
  readonly failure?: string;
}
