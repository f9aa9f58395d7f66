// The style sheet and the script of a report. Colours are variables with a light and a dark value (palettes that
// remain distinct with colour-blind eyes: blue, orange, green, ...); print is always light. The page is complete without the
// script, which only adds sorting and filtering to tables and tooltips to plots.

export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1b1f24; --muted: #57606a; --grid: #e4e7eb; --axis: #b6bdc6; --line: #d8dee4;
  --accent: #1f66b1; --mark: #fff3d1; --good: #17603a; --bad: #a3320b;
  --c1: #2f6fb7; --c2: #e07b1a; --c3: #1a936f; --c4: #b5487f; --c5: #a88400; --c6: #6f56b5; --c7: #8b949e; --c8: #3a4550;
  --base: #c3cad3;
  --s1: #b9d5f0; --s2: #8db9e2; --s3: #5f9bd1; --s4: #397dbb; --s5: #1f5f9f; --s6: #12406f;
  --d0: #9c3a08; --d1: #d0661c; --d2: #eda15f; --d3: #f8d9bb; --d4: #eef0f2; --d5: #cde0f3; --d6: #8db9e2; --d7: #397dbb; --d8: #124a86;
  --t0: #ffffff; --t1: #ffffff; --t2: #1b1f24; --t3: #1b1f24; --t4: #57606a; --t5: #1b1f24; --t6: #1b1f24; --t7: #ffffff; --t8: #ffffff;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --panel: #1c2229; --ink: #e8ebee; --muted: #a3adb8; --grid: #2b333c; --axis: #56616d; --line: #323b45;
    --accent: #7fb6ef; --mark: #3c3414; --good: #6fd09c; --bad: #f59a6b;
    --c1: #6ea8e6; --c2: #f2a04d; --c3: #49c59c; --c4: #e389b6; --c5: #dfc04a; --c6: #a893ea; --c7: #8b949e; --c8: #d5dbe1;
    --base: #4a5561;
    --s1: #244a6e; --s2: #2f6596; --s3: #4282bd; --s4: #62a0dc; --s5: #8dbef0; --s6: #c0dcf8;
    --d0: #ffb27a; --d1: #e5822f; --d2: #a85a1c; --d3: #583a22; --d4: #262d35; --d5: #223f5c; --d6: #2c6299; --d7: #4d93d6; --d8: #9ccbfa;
    --t0: #14181d; --t1: #14181d; --t2: #ffffff; --t3: #e8ebee; --t4: #a3adb8; --t5: #e8ebee; --t6: #ffffff; --t7: #14181d; --t8: #14181d;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1360px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 44px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { max-width: 78ch; margin: 6px 0; }
.muted, figcaption, .unit { color: var(--muted); }
code { font: 0.92em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--panel); padding: 12px 14px; border-radius: 6px; overflow-x: auto; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 14px 0; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 12px; margin: 14px 0; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.card b { display: block; font-size: 25px; line-height: 1.25; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.card span { display: block; font-size: 13px; color: var(--muted); }
.good { color: var(--good); } .bad { color: var(--bad); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 18px; align-items: start; }
.plots.wide { grid-template-columns: 1fr; }
figure { margin: 10px 0 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: 13px; margin-bottom: 4px; }
svg { max-width: 100%; height: auto; display: block; }
svg text { font-family: inherit; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; background: var(--panel); }
th .unit { display: block; font-weight: 400; font-size: 11px; }
td.n, th.n { text-align: right; }
td.wraps { white-space: normal; min-width: 11em; }
table.grouped th { white-space: normal; } table.grouped th, table.grouped td { padding: 4px 7px; }
thead td { background: var(--panel); border-bottom: 0; }
th.group { text-align: center; border-left: 1px solid var(--line); }
tr.baseline td { background: var(--mark); font-weight: 600; }
tbody tr:hover td { box-shadow: inset 0 0 0 99px color-mix(in srgb, var(--accent) 9%, transparent); }
th.sortable { cursor: pointer; user-select: none; }
th.sortable:hover, th.sortable:focus-visible { color: var(--accent); }
th[aria-sort=ascending]::after { content: " \\25B2"; } th[aria-sort=descending]::after { content: " \\25BC"; }
input.filter { font: inherit; padding: 4px 10px; width: min(100%, 340px); color: inherit; background: var(--paper); border: 1px solid var(--axis); border-radius: 6px; }
details { margin: 6px 0; } summary { cursor: pointer; padding: 3px 0; }
@media print {
  main { max-width: none; padding: 0; } body { font-size: 10pt; }
  .scroll { overflow: visible; } table { font-size: 6.5pt; } th, td { padding: 2px 4px; white-space: normal; }
  input.filter { display: none; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
`;

export const SCRIPT = `
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    head.classList.add('sortable');
    head.tabIndex = 0;
    const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === '' || y === '') return (x === '') - (y === '');
      const [m, n] = [Number(x), Number(y)];
      const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y, 'en', { numeric: true }) : m - n;
      return head.ariaSort === 'descending' ? -order : order;
    };
    const sort = () => {
      const next = head.ariaSort === 'ascending' ? 'descending' : 'ascending';
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = next;
      body.append(...[...body.rows].sort(compare));
    };
    head.addEventListener('click', sort);
    head.addEventListener('keydown', (event) => { if (event.key === 'Enter') sort(); });
  });
  const filter = document.createElement('input');
  filter.className = 'filter';
  filter.type = 'search';
  filter.placeholder = 'Filter rows: words that all must occur';
  filter.setAttribute('aria-label', filter.placeholder);
  filter.addEventListener('input', () => {
    const words = filter.value.toLowerCase().split(/\\s+/);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  if (body.rows.length > 12) table.parentElement.before(filter);
}
for (const mark of document.querySelectorAll('figure [role="graphics-symbol"][aria-label]')) {
  if (mark.tagName !== 'path') continue;
  const title = document.createElementNS(mark.namespaceURI, 'title');
  title.textContent = mark.getAttribute('aria-label');
  mark.append(title);
}
`;
