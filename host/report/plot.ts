// A Vega-Lite specification as inline SVG. Colours are the style sheet's variables (style.ts), so that a plot follows
// light and dark mode like the text around it.

import * as vega from 'vega';
import * as vegaLite from 'vega-lite';
import { markup, Markup } from './html.js';

export type Spec = vegaLite.TopLevelSpec;

const INK = 'var(--ink)';
const MUTED = 'var(--muted)';

const CONFIG: vegaLite.Config = {
  background: 'transparent',
  padding: 4,
  view: { stroke: null },
  axis: {
    labelColor: MUTED,
    titleColor: INK,
    gridColor: 'var(--grid)',
    domainColor: 'var(--axis)',
    tickColor: 'var(--axis)',
    titleFontWeight: 500,
    labelFontSize: 11,
    titleFontSize: 11,
    labelLimit: 320,
    titleLimit: 480,
  },
  header: { labelColor: INK, titleColor: MUTED, labelFontSize: 11, titleFontSize: 11, titleFontWeight: 500 },
  legend: {
    labelColor: MUTED,
    titleColor: INK,
    titleFontWeight: 500,
    labelFontSize: 11,
    titleFontSize: 11,
    orient: 'top',
    labelLimit: 240,
    titleLimit: 320,
    symbolStrokeWidth: 0,
  },
  text: { color: INK, fontSize: 11 },
};

/** Renders one figure with its caption. `label` is what a screen reader says of the drawing. */
export async function figure(caption: string, spec: Spec): Promise<Markup> {
  const { spec: lowered } = vegaLite.compile(spec, { config: CONFIG });
  const view = new vega.View(vega.parse(lowered), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  // Inline SVG needs no namespaces; without them the page names no address at all.
  const inline = svg.replace(/^<svg xmlns="[^"]*" xmlns:xlink="[^"]*"/, '<svg role="img"');
  return markup`<figure><figcaption>${caption}</figcaption>${new Markup(inline)}</figure>\n`;
}
