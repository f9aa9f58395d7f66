// Where memory is: what the trace says about the machine that it was captured on, and placements as the core has them.

import { type TraceMetadata } from '../../traces/metadata.js';
import { UsageError } from '../../traces/errors.js';
import { type Placement } from '../config/schema.js';
import { type Core } from '../core/instance.js';

/** What the trace says about the memory that it was captured on. */
export interface TraceMemory {
  path: string;
  regions: TraceMetadata['regions'];
  /** Physical ranges of each node; none where the trace does not say. */
  nodes?: TraceMetadata['nodes'];
}

/** The regions of these names, each of which the trace must have; `key` is what names them. */
export function namedRegions(
  { regions, path }: TraceMemory,
  names: readonly string[],
  key: string,
): TraceMetadata['regions'] {
  return names.flatMap((name) => {
    const found = regions.filter((region) => region.name === name && region.bytes > 0);
    if (found.length > 0) return found;
    const known = [...new Set(regions.map((region) => region.name))].join(', ') || 'no region at all';
    throw new UsageError(`${key}: ${path} has no region "${name}"; it names ${known}`);
  });
}

/** A placement as the core's set-up functions take it. */
export function policy(core: Core, placement: Placement): [policy: number, node: number] {
  if (typeof placement === 'object') return [core.Policy.Node, placement.node];
  const policies = {
    'first-touch': core.Policy.FirstTouch,
    local: core.Policy.Local,
    interleave: core.Policy.Interleave,
  };
  return [policies[placement], 0];
}
