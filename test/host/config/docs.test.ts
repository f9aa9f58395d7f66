// What is derived from the schema: the documentation, the JSON Schema, the help text.
import Ajv from 'ajv';
import { describe, expect, test } from 'vitest';
import { describeConfig } from '../../../host/config/describe.js';
import { configJsonSchema, dottedKeys } from '../../../host/config/keys.js';
import { loadConfig } from '../../../host/config/load.js';
import { presetNames, readPreset } from '../../../host/config/presets.js';
import { generatedDocs, staleDocs } from '../../../tools/docs.js';

test('docs/configuration.md and docs/config.schema.json are what the schemas say', () => {
  expect(staleDocs()).toEqual([]);
});

test('every key has a row with a meaning in the documentation', () => {
  const page = generatedDocs().get('docs/configuration.md')!;
  for (const key of dottedKeys()) {
    // Keys of a TLB array, a policy, a rule and a placement are in the table of that shape.
    const [, shape] =
      /^(?:machine\.tlb\.l..?|paging\.pageSize\.rules|paging\.pageSize|memory\.(?:data|tables|text)|machine\.caches\.(?:l1i|l1d|l2))\.(\w+)$/.exec(
        key,
      ) ?? [];
    expect(page).toMatch(
      new RegExp(`^\\| \`${(shape ?? key).replaceAll('.', '\\.')}\` \\| .+ \\| .* \\| .* \\| \\S.+ \\|$`, 'm'),
    );
  }
});

test('--help lists the top-level keys', () => {
  for (const key of Object.keys(configJsonSchema.properties!))
    expect(describeConfig()).toMatch(new RegExp(`^  ${key} `, 'm'));
});

describe('the JSON Schema', () => {
  const ajv = new Ajv({ schemaId: 'auto' });
  const accepts = ajv.compile(configJsonSchema as object);

  test('is itself valid', () => {
    expect(ajv.validateSchema(configJsonSchema as object)).toBe(true);
  });

  test.each(presetNames())('accepts the preset %s and what it resolves to', (name) => {
    expect(accepts(readPreset(name, 'test').doc)).toBe(true);
    expect(accepts(loadConfig({ source: name }).config)).toBe(true);
  });

  test('accepts documents that state objects in part', () => {
    expect(accepts({ paging: { stage2: { ipaBits: 40 } } })).toBe(true);
    expect(accepts({ machine: { tlb: { l2: { ways: 16 } } }, paging: { pageSize: '2M' } })).toBe(true);
  });

  test.each([
    { machin: {} },
    { machine: { tlb: { l2: { ways: 1025 } } } },
    { memory: { data: 'near' } },
    { memory: { data: {} } },
    { paging: { stage2: { ipaBits: 53 } } },
    { paging: { stage2: { levels: 4, granule: '4K' } } },
  ])('refuses %o', (doc) => {
    expect(accepts(doc)).toBe(false);
  });
});
