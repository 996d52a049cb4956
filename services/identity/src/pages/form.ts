import { Html, html } from "./html.ts";

/** What every form of ours has. */
export interface FormTerms {
  /** Where it goes. */
  readonly action: string;
  /** Shows that the form is ours. */
  readonly csrf: string;
  /** What was wrong with the last attempt. */
  readonly problems?: readonly string[];
  readonly leadsTo?: readonly string[];
  /** Further attributes of the form. */
  readonly attributes?: Html;
}

/** A form with these fields, below what was wrong with the last one. */
export function form({ action, csrf, problems = [], attributes = new Html("") }: FormTerms, fields: Html): Html {
  const alert =
    problems.length === 0 ? "" : html`<div role="alert">${problems.map((one) => html`<p>${one}</p>`)}</div>`;
  return html`${alert}<form method="post" action="${action}"${attributes}>
<input type="hidden" name="csrf" value="${csrf}">
${fields}
</form>`;
}

/** What a page with such a form is sent with. */
export const terms = ({ leadsTo, problems = [] }: FormTerms) => ({
  ...(leadsTo === undefined ? {} : { leadsTo }),
  ...(problems.length === 0 ? {} : { status: 422 }),
});
