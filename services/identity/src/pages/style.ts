/** The style of every page, light or dark as the reader has it; contrasts are at least 4.5 to 1 (WCAG 2.2 AA). */
export const style = `:root{color-scheme:light dark;--ink:#1b1f24;--soft:#51606f;--back:#f3f5f7;--sheet:#fff;--line:#7d8996;--deed:#0b57a4;--on-deed:#fff;--bad:#a3140f}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecf0;--soft:#a9b5c1;--back:#12161a;--sheet:#1c2229;--line:#75828f;--deed:#8fc2f7;--on-deed:#0c1b2a;--bad:#ff9d94}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;padding:2rem;background:var(--sheet);border-radius:.75rem}
h1{margin:0 0 1rem;font-size:1.4rem;line-height:1.25}
h2{margin:1.5rem 0 0;font-size:1.1rem}
a{color:var(--deed)}
.picture svg{width:12rem;height:12rem;background:#fff}
.codes{list-style:none;padding:0}
.codes code{font-size:1rem;letter-spacing:0}
label{display:block;margin:1rem 0 .25rem;font-weight:600}
input{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.4rem}
button{margin:1.5rem .5rem 0 0;padding:.6rem 1.2rem;font:inherit;font-weight:600;color:var(--on-deed);background:var(--deed);border:1px solid var(--deed);border-radius:.4rem;cursor:pointer}
button.other{color:var(--deed);background:transparent}
button.small{margin:.25rem 0 .25rem .5rem;padding:.15rem .6rem;font-size:.875rem}
:focus-visible{outline:3px solid var(--deed);outline-offset:2px}
[role=alert]{color:var(--bad);font-weight:600}
small{color:var(--soft)}
code{font-size:1.25rem;letter-spacing:.1em}
ul{padding-left:1.2rem}
`;
