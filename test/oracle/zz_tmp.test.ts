import fc from 'fast-check';
import { test } from 'vitest';
import { wellFormed, malformed } from './arch/arbitrary.js';
import { memoryOf } from './arch/build.js';
import { permissionCases } from './arch/permissions.js';
import { translate } from './arch/translate.js';
test('stats', () => {
  for (const [name, arb] of [['well', wellFormed], ['bad', malformed]] as const) {
    const t = Date.now();
    const cases = fc.sample(arb, 1000);
    const t1 = Date.now();
    const seen: Record<string, number> = {};
    for (const c of cases) for (const a of c.addresses) for (const acc of c.accesses) {
      let key;
      try { const o = translate(memoryOf(c.pages), c.regime, a, acc); key = (c.regime.stage1 ? (c.regime.stage2 ? 'N' : '1') : '2') + ' ' + (acc ? 'a ' : 'p ') + o.status + (o.stage===2 ? ' by2' : ''); } catch (e) { key = String(e).slice(0, 20); }
      seen[key] = (seen[key] ?? 0) + 1;
    }
    console.log(name, t1 - t, Date.now() - t1, Object.entries(seen).sort());
  }
  const t = Date.now(); let n = 0; const seen: Record<string, number> = {};
  for (const { pages, regime, address, access } of permissionCases()) { n++; const s = translate(memoryOf(pages), regime, address, access).status; seen[s] = (seen[s] ?? 0) + 1; }
  console.log(n, Date.now() - t, seen);
});
