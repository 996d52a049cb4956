import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import type { ServiceContract } from "@hms/directory";
import { HmsError } from "@hms/kernel";
import { nearestName } from "@hms/manifest";

/** Finds message types by name, for what google.protobuf.Any may hold. */
export interface MessageTypes {
  getMessage(typeName: string): DescMessage | undefined;
}

/** A method and what its messages may hold. */
export interface KnownMethod {
  readonly desc: DescMethod;
  readonly types: MessageTypes;
}

const plain = (name: string) => name.replaceAll("_", "").toLowerCase();

/** Finds the methods of a contract by the names that callers use: EvaluatePolicy, evaluatePolicy, evaluate_policy. */
export class ServiceMethods {
  /** Identifies the contract's content. */
  readonly digest: string;
  readonly #label: string;
  readonly #services: readonly DescService[];
  readonly #types: MessageTypes;
  readonly #byName = new Map<string, DescMethod[]>();
  /** Methods by the names that the contract itself has for them, where these are unique. */
  readonly #exact = new Map<string, KnownMethod>();

  /** `label` is how the service is called in errors: "hms.cdf.debate v1". */
  constructor(contract: Pick<ServiceContract, "digest" | "services"> & { files: MessageTypes }, label: string) {
    this.digest = contract.digest;
    this.#label = label;
    this.#services = contract.services;
    this.#types = contract.files;
    for (const desc of this.#all()) {
      for (const name of [plain(desc.name), plain(`${desc.parent.name}/${desc.name}`)]) {
        this.#byName.set(name, [...(this.#byName.get(name) ?? []), desc]);
      }
    }
    for (const desc of this.#all()) {
      if (this.#byName.get(plain(desc.name))?.length !== 1) continue;
      for (const name of [desc.name, desc.localName]) this.#exact.set(name, { desc, types: this.#types });
    }
  }

  #all(): DescMethod[] {
    return this.#services.flatMap(({ methods }) => methods);
  }

  /** @throws HmsError UNIMPLEMENTED with the nearest name, INVALID_ARGUMENT if the name fits several methods */
  find(name: string): KnownMethod {
    return this.#exact.get(name) ?? this.#search(name);
  }

  #search(name: string): KnownMethod {
    const [desc, ...others] = this.#byName.get(plain(name)) ?? [];
    if (desc === undefined) throw this.#unknown(name);
    if (others.length === 0) return { desc, types: this.#types };
    const names = [desc, ...others].map((one) => `${one.parent.name}/${one.name}`).join(" or ");
    throw new HmsError("INVALID_ARGUMENT", `${this.#label} has several methods ${name}: write ${names}.`);
  }

  #unknown(name: string): HmsError {
    const names = this.#all().map((desc) => desc.name);
    const near = nearestName(name, names);
    const hint = near ? `Did you mean ${near}?` : `It has ${names.join(", ") || "none"}.`;
    return new HmsError("UNIMPLEMENTED", `${this.#label} has no method ${name}. ${hint}`, {
      reason: "METHOD_UNKNOWN",
      metadata: { method: name, nearest: near ?? "" },
    });
  }
}
