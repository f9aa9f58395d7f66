// The frame of every report: one HTML file that needs nothing else, neither network nor script.

import { markup, Markup } from './html.js';
import { SCRIPT, STYLE } from './style.js';

/** `body` are the sections in order; null ones have nothing to show. */
export function page(title: string, body: (Markup | null)[]): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
${body.map((part) => markup`${part}\n`)}</main>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`.text;
}

/** Names and values in two columns; entries without a value are left out. */
export function facts(entries: [string, Markup | string | null | undefined][]): Markup {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== '');
  const rows = shown.map(([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>\n`);
  return markup`<dl class="facts">${rows}</dl>`;
}

/** A section; left out when there is nothing in it. */
export function section(title: string, explanation: string, content: (Markup | null)[]): Markup | null {
  const shown = content.filter((part) => part !== null);
  if (shown.length === 0) return null;
  return markup`<section>
<h2>${title}</h2>
<p class="muted">${explanation}</p>
${shown}
</section>`;
}

export function plots(figures: (Markup | null)[], wide = false): Markup | null {
  const shown = figures.filter((figure) => figure !== null);
  return shown.length === 0 ? null : markup`<div class="plots${wide ? ' wide' : ''}">${shown}</div>`;
}

/** One big number with what it is. */
export function card(value: string, meaning: string, tone: 'good' | 'bad' | '' = ''): Markup {
  return markup`<div class="card"><b class="${tone}">${value}</b><span>${meaning}</span></div>`;
}
