import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** What may be said as CBOR (RFC 8949) by an authenticator. */
type Cbor = number | string | Buffer | Map<number | string, Cbor>;

function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.of((major << 5) | value);
  if (value < 256) return Buffer.of((major << 5) | 24, value);
  return Buffer.of((major << 5) | 25, value >> 8, value & 255);
}

function encode(value: Cbor): Buffer {
  if (typeof value === "number") return value >= 0 ? head(0, value) : head(1, -1 - value);
  if (typeof value === "string") return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  const pairs = [...value].flatMap(([key, inner]) => [encode(key), encode(inner)]);
  return Buffer.concat([head(5, value.size), ...pairs]);
}

const digest = (data: Buffer | string) => createHash("sha256").update(data).digest();
const USER_PRESENT = 0x01;
const ATTESTED = 0x40;

/** What a page has handed to its browser. */
interface Asked {
  readonly challenge: string;
  readonly rp?: { readonly id: string };
  readonly rpId?: string;
}

/** A passkey in software: it answers as browsers do, to the letter of WebAuthn Level 2. */
export class SoftwareAuthenticator {
  readonly #id = randomBytes(16);
  readonly #key: { publicKey: KeyObject; privateKey: KeyObject };
  /** How often it has signed; some authenticators never count. */
  counter = 0;

  constructor(kind: "ES256" | "RS256" = "ES256") {
    this.#key =
      kind === "ES256"
        ? generateKeyPairSync("ec", { namedCurve: "P-256" })
        : generateKeyPairSync("rsa", { modulusLength: 2048 });
  }

  /** Answers to `navigator.credentials.create`, as a page at `origin` gets it. */
  create(options: string, origin: string): string {
    const asked = JSON.parse(options) as Asked;
    const client = this.#clientData("webauthn.create", asked, origin);
    const data = Buffer.concat([this.#data(asked.rp?.id ?? "", USER_PRESENT | ATTESTED), this.#credential()]);
    const statement = new Map<string, Cbor>([
      ["fmt", "none"],
      ["attStmt", new Map()],
      ["authData", data],
    ]);
    const response = {
      clientDataJSON: client.toString("base64url"),
      attestationObject: encode(statement).toString("base64url"),
      transports: ["internal"],
    };
    return this.#answer(response);
  }

  /** Answers to `navigator.credentials.get`. */
  get(options: string, origin: string): string {
    const asked = JSON.parse(options) as Asked;
    const client = this.#clientData("webauthn.get", asked, origin);
    const data = this.#data(asked.rpId ?? "", USER_PRESENT);
    const response = {
      clientDataJSON: client.toString("base64url"),
      authenticatorData: data.toString("base64url"),
      signature: sign("sha256", Buffer.concat([data, digest(client)]), this.#key.privateKey).toString("base64url"),
    };
    return this.#answer(response);
  }

  #answer(response: Record<string, unknown>): string {
    const id = this.#id.toString("base64url");
    return JSON.stringify({ id, rawId: id, type: "public-key", clientExtensionResults: {}, response });
  }

  #clientData(type: string, { challenge }: Asked, origin: string): Buffer {
    return Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }));
  }

  #data(rpId: string, flags: number): Buffer {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(this.counter);
    return Buffer.concat([digest(rpId), Buffer.of(flags), counter]);
  }

  #credential(): Buffer {
    const { n = "", e = "", x = "", y = "" } = this.#key.publicKey.export({ format: "jwk" });
    // COSE keys (RFC 9052, RFC 8230): kind of key, algorithm, and what makes the key.
    const key = new Map<number, Cbor>(
      n === ""
        ? [
            [1, 2],
            [3, -7],
            [-1, 1],
            [-2, Buffer.from(x, "base64url")],
            [-3, Buffer.from(y, "base64url")],
          ]
        : [
            [1, 3],
            [3, -257],
            [-1, Buffer.from(n, "base64url")],
            [-2, Buffer.from(e, "base64url")],
          ],
    );
    return Buffer.concat([Buffer.alloc(16), Buffer.of(0, this.#id.length), this.#id, encode(key)]);
  }
}
