// One lint for the three code folders, and the direction of imports:
//   tools -> host -> traces, and inside the core replay -> hyp, stage2, spe -> systems -> tlb, cache -> paging -> memory -> layout.
import tseslint from 'typescript-eslint';

/** Forbids imports whose path passes through one of the folders. */
const forbid = (folders, why) => ({
  'no-restricted-imports': ['error', { patterns: [{ regex: `(^|/)(${folders.join('|')})(/|$|\\.)`, message: why }] }],
});

/** AssemblyScript decorates functions, which TypeScript's parser refuses: it sees blanks in their place. */
const assemblyScript = {
  parseForESLint: (code, options) =>
    tseslint.parser.parseForESLint(
      code.replace(/^@inline$/gm, (decorator) => ' '.repeat(decorator.length)),
      options,
    ),
};

/** The core's layers from the lowest to the highest; a layer may import only layers before it. */
const layers = [
  'layout',
  'stats',
  'memory',
  'paging',
  'tlb',
  'cache',
  'systems',
  'hyp',
  'stage2',
  'spe',
  'event',
  'replay',
  'index',
];
const core = (layer) => `assembly/${layer}/**/*.ts`;

export default tseslint.config(
  { ignores: ['build', 'dist', 'node_modules', 'coverage', 'out', 'test/fixtures'] },
  ...tseslint.configs.recommended,
  {
    files: ['host/**/*.ts', 'traces/**/*.ts', 'tools/**/*.ts', 'test/**/*.ts'],
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'prefer-const': 'error',
      'no-console': 'error',
    },
  },
  {
    files: ['traces/**/*.ts'],
    rules: forbid(['host', 'tools', 'assembly', 'test'], 'traces imports nothing above it'),
  },
  {
    files: ['host/**/*.ts'],
    rules: forbid(['tools', 'assembly', 'test'], 'host imports traces and the built core only'),
  },
  { files: ['tools/**/*.ts'], rules: forbid(['assembly', 'test'], 'tools import host and traces') },
  {
    files: ['test/oracle/**/*.ts'],
    rules: forbid(['assembly', 'host', 'tools'], 'the oracle shares no code with what it judges'),
  },
  {
    // AssemblyScript: its operators and decorators are its own, so only rules that hold there too.
    files: ['assembly/**/*.ts'],
    languageOptions: { parser: assemblyScript },
    rules: {
      '@typescript-eslint/ban-ts-comment': 'off',
      '@typescript-eslint/no-unused-vars': 'off',
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-inferrable-types': 'off',
      'prefer-const': 'off',
    },
  },
  ...layers.slice(2, -1).map((layer, i) => ({
    files: [core(layer), `assembly/${layer}.ts`],
    rules: forbid(
      layers.slice(i + 3).filter((l) => !(layer === 'tlb' && l === 'cache')),
      `${layer} imports only layers below it`,
    ),
  })),
);
