// Bundles the command and its worker: loading a few files instead of some hundred modules halves the time to start. Packages that
// find files of their own, and those that only the report loads, stay packages.
import { build } from 'esbuild';

await build({
  entryPoints: ['host/cli.ts', 'host/sweep/worker.ts'],
  outdir: 'dist',
  outbase: '.',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: true,
  minifySyntax: true,
  minifyWhitespace: true,
  chunkNames: 'chunks/[name]-[hash]',
  external: ['piscina', 'vega', 'vega-lite'],
  // CommonJS packages in an ES module ask for Node's own modules by require.
  banner: {
    js: "import { createRequire as nodeRequire } from 'node:module'; const require = nodeRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
