// Writes what is derived from the schemas: docs/configuration.md, docs/config.schema.json and docs/synth.md. With --check it
// writes nothing and fails when a file is not what it would write.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { experimentJsonSchema } from '../host/config/experiment.js';
import { configJsonSchema, type SchemaNode } from '../host/config/keys.js';
import { presetNames, readPreset } from '../host/config/presets.js';
import { packageRoot } from '../host/paths.js';
import { parametersOf, SCENARIOS } from '../host/synth/index.js';
import { COMMON } from '../host/synth/scenario.js';

const INTRODUCTION = `# Configuration

<!-- Written by tools/docs.ts from host/config; do not edit. -->

A configuration is a YAML or JSON document. It is merged into the preset that it \`extends\` (else into \`generic\`) key by
key; lists replace. \`--set KEY=VALUE\` lays one more key over it, the value read as YAML, as in
\`--set machine.tlb.l2.ways=16\`; a number in the key is the index of a list's element (\`machine.tlb.l1d.0.ways\`).
Unknown keys and contradictions are errors. \`config.schema.json\` in this folder is the same as a JSON Schema for editors.
What the keys do to the counts is defined in \`models.md\` and \`caches.md\`.

- A TLB level is one array or a list of arrays; one array merges key by key with one array, anything else replaces.
- A document that states \`machine.cpuNode\` drops inherited \`nodes\`, \`cpus\` and \`topology\`; one that states \`nodes\` or
  \`cpus\` drops an inherited \`cpuNode\` and, unless it states \`topology\` too, sets it to \`blocks\`.
- A document that changes \`paging.format\` drops the other inherited keys of \`paging\`; one that changes
  \`paging.stage2.format\` drops those of \`paging.stage2\`, and \`paging.stage2: null\` removes the second stage. TLB arrays
  and walk caches of a preset are fitted to the format: page sizes and walk caches that it does not have go, those of
  stage 2 where there is none.
- The first page rule that covers an address decides; the ranges of rules must not overlap.
`;

const EXPERIMENT = `## Experiments

An experiment file names traces, a base configuration and the keys that vary; \`nodewalk sweep\` runs every trace under
every configuration. It has these keys:
`;

const SYNTH = `# Synthetic event traces

<!-- Written by tools/docs.ts from host/synth; do not edit. -->

\`nodewalk synth SCENARIO -o OUT.arrow\` writes a trace of events (kinds and operands: \`formats.md\`) and of the accesses around them.
\`--set PARAMETER=VALUE\` changes a parameter; unknown ones are errors. The same parameters give the same bytes: everything random
comes from \`seed\` through sfc32 (PractRand's, seeded as there).

- Rows have no \`pa\` and no \`time\`: where pages lie is the replay's matter. \`memory.data: first-touch\` puts a heap on the node of the CPU
  that uses it; text and read-only data are the regions \`text\` and \`rodata\` of the metadata, with the image's home node.
- The metadata has the scenario and all its parameters (\`source\`), the node of each CPU, the phases, and the regions \`text\`, \`rodata\`,
  \`init\`, \`data\`, \`modules\`, \`vmalloc\`, \`linear-map\`, \`user-text\`, \`user\`. The read-only region includes what is read-only only after init.
- Only \`boot\` and \`hyp-boot\` have a boot event: in all others the kernel runs already, on all CPUs.
- An address space's number is its ASID too; 0 is the kernel's own. Every row has the ASID of what runs on its CPU, so replay
  with \`paging.global: kernel\`, or every process maps the kernel anew.
- A fetch row is one line of 64 bytes and stands for \`insnsPerLine\` instructions; loads and stores have 8 bytes.
- Text in use is \`textBytes\` of functions of \`functionLines\` lines, function i of n at line floor(i x lines of the text / n). A walk
  fetches runs of consecutive lines of it, on into the next function: the first is drawn by a Zipf law (weight of rank r: r to the power of
  -\`skew\`; ranks in random order), the length is geometric with mean \`runLines\`. Each CPU has a walk of its own.
- Phase numbers count from 1; where phases are per node, phase k + 1 is node k.
- Kernels are Debian's Linux 6.1.192: VA ranges and sizes of the image by its symbols. A boot event lays the image out as text, rodata,
  read-only after init, init, data; x86-64 really has data before init.

## Parameters of every scenario
`;

/** The generated files: path below the package and content. */
export function generatedDocs(): Map<string, string> {
  return new Map([
    ['docs/configuration.md', configurationPage()],
    ['docs/config.schema.json', `${JSON.stringify(configJsonSchema, null, 2)}\n`],
    ['docs/synth.md', synthPage()],
  ]);
}

/** The generated files that are not what they should be. */
export function staleDocs(): string[] {
  return [...generatedDocs()].filter(([path, text]) => current(path) !== text).map(([path]) => path);
}

function current(path: string): string | null {
  try {
    return readFileSync(join(packageRoot(), path), 'utf8');
  } catch {
    return null; // not there yet
  }
}

function configurationPage(): string {
  const sections = Object.entries(configJsonSchema.properties!).map(([name, node]) => {
    const rows = [[name, node] as const, ...below(name, node)];
    return `## ${name}\n\n${keyTable(rows)}`;
  });
  const shapes = Object.entries(configJsonSchema.definitions!).map(([name, node]) => {
    const rows = Object.entries(node.properties ?? {});
    return `### ${name}\n\n${rows.length > 0 ? keyTable(rows) : `${typeOf(node)}\n\n${node.description}\n`}`;
  });
  const presets = presetNames().map((name) => `- \`${name}\`: ${readPreset(name, 'docs').summary}`);
  const experiment = keyTable(Object.entries(experimentJsonSchema.properties!));
  return [
    INTRODUCTION,
    ...sections,
    '## Values with a shape of their own\n',
    ...shapes,
    `## Presets\n\n${presets.join('\n')}\n`,
    EXPERIMENT,
    experiment,
  ].join('\n');
}

/** The parameters that all scenarios share are in one table, those of a scenario's own in one each. */
function synthPage(): string {
  const isCommon = ([name]: [string, SchemaNode]) => Object.hasOwn(COMMON, name);
  const sections = SCENARIOS.map((scenario) => {
    const own = parametersOf(scenario).filter((parameter) => !isCommon(parameter));
    const examples = ['```', ...scenario.examples, '```'].join('\n');
    return `## ${scenario.name}\n\n${scenario.summary}.\n\n${scenario.notes}\n\n${keyTable(own)}\n${examples}\n`;
  });
  const common = keyTable(parametersOf(SCENARIOS[0]).filter(isCommon));
  return [SYNTH, common, ...sections].join('\n');
}

/** The keys below a node, by dotted path; what a reference stands for has a table of its own. */
function below(path: string, node: SchemaNode): (readonly [string, SchemaNode])[] {
  return inline(node).flatMap(({ properties }) =>
    Object.entries(properties ?? {}).flatMap(([name, child]) => [
      [`${path}.${name}`, child] as const,
      ...below(`${path}.${name}`, child),
    ]),
  );
}

function inline(node: SchemaNode): SchemaNode[] {
  const parts = node.anyOf ?? node.allOf;
  return parts ? parts.flatMap(inline) : node.$ref ? [] : [node];
}

/** One row for each key; a key that several formats share with the same meaning is one row. */
function keyTable(rows: Iterable<readonly [string, SchemaNode]>): string {
  const merged = new Map<string, SchemaNode>();
  for (const [path, node] of rows) {
    const before = merged.get(path);
    const values = new Set([...(before?.enum ?? [before?.const]), node.const]);
    merged.set(path, before && node.const !== undefined ? { ...before, const: undefined, enum: [...values] } : node);
  }
  const lines = [...merged].map(([path, node]) => {
    const cells = [`\`${path}\``, typeOf(node), defaultOf(node), node.unit ?? '', node.description ?? ''];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return ['| key | type | default | unit | meaning |', '|---|---|---|---|---|', ...lines, ''].join('\n');
}

function typeOf(node: SchemaNode): string {
  const parts = node.anyOf ?? node.allOf;
  if (parts) return [...new Set(parts.map(typeOf))].join(' or ');
  if (node.$ref) return reference(node.$ref);
  if (node.enum) return node.enum.map((value) => `\`${value}\``).join(', ');
  if (node.const !== undefined) return `\`${node.const}\``;
  if (node.items) return `list of ${typeOf(node.items)}`;
  const range = node.minimum === undefined ? '' : ` from ${number(node.minimum)}`;
  const limit =
    node.maximum === undefined || node.maximum === Number.MAX_SAFE_INTEGER ? '' : ` to ${number(node.maximum)}`;
  const kinds = [node.type ?? 'any value'].flat().map((kind) => (kind === 'string' ? 'text' : kind));
  return `${kinds.join(' or ')}${range}${limit}`;
}

const number = (value: number) => (value >= 10_000 ? value.toLocaleString('en-US') : String(value));

const reference = ($ref: string) => {
  const name = $ref.split('/').at(-1)!;
  return `[${name}](#${name.toLowerCase()})`;
};

/** Objects that have keys of their own show their defaults there. */
function defaultOf(node: SchemaNode): string {
  const stated = node.default;
  if (stated === undefined) return '';
  if (typeof stated === 'object' && stated !== null && !Array.isArray(stated)) {
    const entries = Object.entries(stated);
    return entries.length === 0
      ? ''
      : `\`{ ${entries.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(', ')} }\``;
  }
  return `\`${typeof stated === 'string' ? stated : JSON.stringify(stated)}\``;
}

function main(args: string[]): void {
  if (args.includes('--check')) {
    const stale = staleDocs();
    if (stale.length > 0) {
      process.stderr.write(
        `${stale.join(', ')}: not what the schemas say; run \`npm run build && node dist/tools/docs.js\`\n`,
      );
      process.exitCode = 1;
    }
    return;
  }
  for (const [path, text] of generatedDocs()) {
    const target = join(packageRoot(), path);
    const partial = `${target}.partial`;
    try {
      writeFileSync(partial, text);
      renameSync(partial, target);
    } finally {
      rmSync(partial, { force: true });
    }
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  main(process.argv.slice(2));
