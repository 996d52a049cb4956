import type { CallOptions } from "@hms/kernel";
import type { Session } from "../session.ts";
import { fieldWord, kindWord } from "./contract-words.ts";
import { askedService, loadMethod, loadOffer } from "./service-contract.ts";

interface Place {
  readonly environment: string;
  readonly service: string;
  readonly method: string;
}

type Candidate = [word: string, meaning: string];

/** The methods of the service that the command line names. */
export async function methodCandidates(session: Session, place: Place, options: CallOptions): Promise<Candidate[]> {
  const { services } = await loadOffer(session, askedService(place.service, place.environment), options);
  return services.flatMap(({ methods }) => methods.map((desc): Candidate => [desc.name, kindWord(desc)]));
}

/** The fields of the request of the method that the command line names. */
export async function fieldCandidates(session: Session, place: Place, options: CallOptions): Promise<Candidate[]> {
  const asked = askedService(place.service, place.environment);
  const { desc } = await loadMethod(session, { asked, name: place.method }, options);
  return desc.input.fields.map((field) => [`${field.name}=`, fieldWord(field)]);
}
