// Rules across keys: what each key allows alone but not together. Every message names both keys.
import { isDeepStrictEqual } from 'node:util';
import { shown } from './documents.js';
import { type Problem } from './issues.js';
import { STAGE2_CACHES, type TlbArray, WALK_CACHES, walkCachesOf } from './machine.js';
import {
  baseSize,
  ipaBitsOf,
  PAGE_SHIFTS,
  type PageRule,
  type PageSize,
  type PagingFormat,
  pageSizes,
  type Stage2Format,
  stage2Sizes,
  tableLevels,
} from './paging.js';
import { type Config } from './schema.js';
import { FAULTS, SEEDS, SYSTEM_DEFAULTS, SYSTEM_OPTIONS } from './system.js';

/** The contradictions of a configuration that has merged and parsed. */
export function contradictions(config: Config): Problem[] {
  return [
    ...impossibleLevels(config),
    ...cpusAndNodes(config),
    ...distances(config),
    ...placements(config),
    ...tlbSizes(config),
    ...foreignWalkCaches(config),
    ...pagePolicy(config),
    ...secondStage(config),
    ...globalPages(config),
    ...lineCaches(config),
    ...passes(config),
    ...tableImage(config),
    ...systemFormat(config),
    ...foreignOptions(config),
    ...foreignFaults(config),
    ...eventsApart(config),
    ...stage2Faults(config),
  ];
}

const problem = (path: string, message: string): Problem => ({ path: path.split('.'), message });

/** How messages name a format. */
export function formatName(paging: PagingFormat): string {
  return paging.format === 'arm64'
    ? `paging.format arm64 with paging.granule ${paging.granule} and paging.vaBits ${paging.vaBits}`
    : `paging.format x86-64 with paging.levels ${paging.levels}`;
}

/** How messages name a second stage. */
function stage2Name(stage2: Stage2Format): string {
  return stage2.format === 'arm64'
    ? `paging.stage2 arm64 with granule ${stage2.granule} and ipaBits ${stage2.ipaBits}`
    : `paging.stage2 ept with levels ${stage2.levels}`;
}

const sizeList = (paging: PagingFormat) => `${formatName(paging)} has ${pageSizes(paging).join(', ')}`;

function impossibleLevels({ paging }: Config): Problem[] {
  if (paging.format !== 'arm64' || tableLevels(paging) > 0) return [];
  const shift = PAGE_SHIFTS[paging.granule];
  return [
    problem(
      'paging.vaBits',
      `${paging.vaBits} leaves no table level with paging.granule ${paging.granule}; expected more than ${shift}`,
    ),
  ];
}

function cpusAndNodes({ machine: { cpuNode, nodes, cpus } }: Config): Problem[] {
  if (!cpuNode) return [];
  const found = [];
  const named = Math.max(...cpuNode) + 1;
  if (nodes !== null && nodes < named) {
    found.push(problem('machine.nodes', `${nodes} contradicts machine.cpuNode, which names node ${named - 1}`));
  }
  if (cpus !== null && cpus !== cpuNode.length) {
    found.push(problem('machine.cpus', `${cpus} contradicts machine.cpuNode, which has ${cpuNode.length} CPUs`));
  }
  return found;
}

/** The number of nodes and the key that says so, where the configuration says so. */
function knownNodes({ machine: { cpuNode, nodes, distances } }: Config): { count: number; key: string } | null {
  if (nodes !== null) return { count: nodes, key: 'machine.nodes' };
  if (cpuNode) return { count: Math.max(...cpuNode) + 1, key: 'machine.cpuNode' };
  return distances && { count: distances.length, key: 'machine.distances' };
}

function distances(config: Config): Problem[] {
  const { distances } = config.machine;
  if (!distances) return [];
  const size = distances.length;
  const found = [];
  const bent = distances.findIndex((row) => row.length !== size);
  if (bent >= 0) {
    found.push(
      problem(
        `machine.distances.${bent}`,
        `expected ${size} distances, one for each row, found ${distances[bent].length}`,
      ),
    );
  }
  const away = distances.findIndex((row, node) => row[node] !== undefined && row[node] !== 10);
  if (away >= 0) {
    found.push(
      problem(
        `machine.distances.${away}.${away}`,
        `expected 10, the distance of a node to itself, found ${distances[away][away]}`,
      ),
    );
  }
  const known = knownNodes(config)!;
  if (known.count !== size) {
    found.push(
      problem(
        'machine.distances',
        `${size} rows contradict ${known.key}, which gives ${known.count} nodes; state both together, or machine.distances: null`,
      ),
    );
  }
  return found;
}

function placements(config: Config): Problem[] {
  const known = knownNodes(config);
  if (!known) return [];
  return (['data', 'tables', 'text'] as const).flatMap((name) => {
    const placement = config.memory[name];
    if (typeof placement !== 'object' || placement === null || placement.node < known.count) return [];
    const message = `node ${placement.node} is outside the nodes 0 to ${known.count - 1} of ${known.key}`;
    return [problem(`memory.${name}.node`, message)];
  });
}

function tlbSizes({ machine: { tlb }, paging }: Config): Problem[] {
  return (['l1i', 'l1d', 'l2'] as const).flatMap((level) =>
    levelSizes(`machine.tlb.${level}`, tlb[level] ?? [], paging),
  );
}

function levelSizes(path: string, arrays: TlbArray[], paging: PagingFormat): Problem[] {
  const found: Problem[] = [];
  const takenBy = new Map<PageSize, number>();
  const pathOf = (index: number) => (arrays.length > 1 ? `${path}.${index}` : path);
  arrays.forEach(({ pages }, index) => {
    for (const size of pages ?? pageSizes(paging)) {
      const first = takenBy.get(size);
      if (!pageSizes(paging).includes(size)) {
        found.push(
          problem(`${pathOf(index)}.pages`, `${size} is not a page size of this machine: ${sizeList(paging)}`),
        );
      } else if (first !== undefined) {
        const twice = first === index ? `${size} is named twice` : `${pathOf(first)} takes ${size} already`;
        found.push(problem(`${pathOf(index)}.pages`, `${twice}; a size goes into one array of a level`));
      }
      takenBy.set(size, first ?? index);
    }
  });
  return found;
}

function foreignWalkCaches({ machine: { walkCaches }, paging, system }: Config): Problem[] {
  const own = walkCachesOf(paging);
  return WALK_CACHES.filter((name) => walkCaches[name] > 0 && !own.includes(name)).flatMap((name) => {
    const path = `machine.walkCaches.${name}`;
    if (!STAGE2_CACHES.includes(name))
      return [problem(path, `${formatName(paging)} has no such walk cache; it has ${own.join(', ')}`)];
    if (paging.stage2 || system.name === 'host-stage2') return [];
    return [problem(path, 'is a cache of stage 2, and paging.stage2 is null; state a second stage or 0 entries')];
  });
}

function pagePolicy({ paging, replay }: Config): Problem[] {
  const { default: size, rules } = paging.pageSize;
  const base = baseSize(paging);
  const stated: [string, PageSize][] = [
    ['paging.pageSize', size],
    ...rules.map((rule, i): [string, PageSize] => [`paging.pageSize.rules.${i}.size`, rule.size]),
  ];
  const found = stated.flatMap(([path, size]) => {
    if (!pageSizes(paging).includes(size)) return [problem(path, `${size} is not a page size: ${sizeList(paging)}`)];
    if (replay.mapping === 'captured' && size !== base) {
      return [problem(path, `${size} contradicts replay.mapping captured, whose pages have the base size ${base}`)];
    }
    return [];
  });
  return [...found, ...ranges(rules)];
}

function globalPages({ paging, replay }: Config): Problem[] {
  if (paging.global === 'none' || replay.mapping !== 'captured') return [];
  const advice = 'captured pages belong to the context of their row; use replay.mapping demand or paging.global: none';
  return [problem('paging.global', `kernel contradicts replay.mapping captured: ${advice}`)];
}

function secondStage({ paging, replay, system }: Config): Problem[] {
  const { stage2, pageSize } = paging;
  if (!stage2) return [];
  const found: Problem[] = [];
  if (system.name === 'host-stage2') {
    const advice = 'the host then has the stage 2; guests of it are not modelled, use paging.stage2: null';
    found.push(problem('paging.stage2', `contradicts system.name host-stage2: ${advice}`));
  }
  if (system.name === 'stage2-faults') {
    const advice = 'guests have a stage 2 of its own there; use paging.stage2: null';
    found.push(problem('paging.stage2', `contradicts system.name stage2-faults: ${advice}`));
  }
  if (replay.mapping === 'captured') {
    const advice = 'the trace has no stage-2 mappings; use replay.mapping demand or paging.stage2: null';
    found.push(problem('paging.stage2', `contradicts replay.mapping captured: ${advice}`));
  }
  const sizes = stage2Sizes(stage2).map(({ size }) => size);
  if (!sizes.includes(stage2.pageSize)) {
    const message = `${stage2.pageSize} is not a page size: ${stage2Name(stage2)} has ${sizes.join(', ')}`;
    found.push(problem('paging.stage2.pageSize', message));
  }
  // Pages lie in the upper half of the intermediate addresses, of which a stage-1 descriptor holds at most 48 bits.
  const half = Math.min(ipaBitsOf(stage2), 48) - 1;
  const largest = [pageSize.default, ...pageSize.rules.map(({ size }) => size)].find(
    (size) => PAGE_SHIFTS[size] > half,
  );
  if (largest !== undefined) {
    const message = `${largest} pages do not fit: ${stage2Name(stage2)} has 2^${half} bytes of intermediate addresses for pages`;
    found.push(problem('paging.pageSize', message));
  }
  return found;
}

function ranges(rules: PageRule[]): Problem[] {
  const found: Problem[] = [];
  const explicit = rules.flatMap(({ region, from, to }, index) =>
    region === undefined ? [{ index, from: BigInt(from ?? 0), to: to === undefined ? 1n << 64n : BigInt(to) }] : [],
  );
  explicit.forEach((rule, i) => {
    const path = `paging.pageSize.rules.${rule.index}`;
    if (rule.from >= rule.to)
      found.push(problem(`${path}.to`, `expected an address above from, found ${shown(rules[rule.index].to)}`));
    const other = explicit.slice(0, i).find(({ from, to }) => from < rule.to && rule.from < to);
    if (other) found.push(problem(path, `overlaps paging.pageSize.rules.${other.index}`));
  });
  return found;
}

function lineCaches({ machine: { caches }, memory, replay }: Config): Problem[] {
  if (caches) {
    const { inclusive, remoteCacheable, cpus } = caches.llc ?? { inclusive: false, remoteCacheable: true, cpus: null };
    const advice = 'an LLC that belongs to the memory is one per node and holds lines of that node only';
    const path = 'machine.caches.llc';
    const needs = (name: string, value: unknown) =>
      problem(`${path}.${name}`, `${shown(value)} contradicts ${path}.remoteCacheable false: ${advice}`);
    if (remoteCacheable) return [];
    return [...(inclusive ? [needs('inclusive', true)] : []), ...(cpus !== null ? [needs('cpus', cpus)] : [])];
  }
  const stated: [path: string, value: unknown, unused: boolean][] = [
    ['memory.text', memory.text, memory.text === null],
    ['replay.cold', replay.cold, replay.cold === null],
    ['replay.pollution', replay.pollution, replay.pollution === 0],
  ];
  return stated.flatMap(([path, value, unused]) =>
    unused
      ? []
      : [
          problem(
            path,
            `${shown(value)} contradicts machine.caches null: there is nothing that it applies to; state caches, or extend a preset that has them`,
          ),
        ],
  );
}

function passes({ replay }: Config): Problem[] {
  const { hot, cold, repeat, warmup } = replay;
  const found: Problem[] = [];
  if (hot !== null && cold !== null)
    found.push(
      problem('replay.hot', `${hot} contradicts replay.cold ${cold}: state one of them, and null for the other`),
    );
  const again = hot !== null ? 'hot' : repeat !== 1 ? 'repeat' : null;
  if (warmup > 0 && again)
    found.push(
      problem(
        'replay.warmup',
        `${warmup} contradicts replay.${again}: rows would be left out of some passes; state one of them`,
      ),
    );
  return found;
}

function tableImage({ replay: { mapping, tables } }: Config): Problem[] {
  if (mapping === 'tables' && tables === null)
    return [problem('replay.mapping', 'tables needs replay.tables, a folder with a table image')];
  if (mapping !== 'tables' && tables !== null)
    return [
      problem('replay.tables', `${shown(tables)} contradicts replay.mapping ${mapping}, which reads no table image`),
    ];
  return [];
}

function systemFormat(config: Config): Problem[] {
  const {
    system: { name, splitLevel },
    paging,
  } = config;
  if (name === 'none') return [];
  if (name === 'hyp-init') return hypInit(config);
  if (name === 'spe') return spe(config);
  if (name === 'host-stage2' || name === 'stage2-faults')
    return paging.format === 'arm64' ? [] : [problem('system.name', `${name} needs paging.format arm64`)];
  const levels = tableLevels(paging);
  if (levels < 2)
    return [
      problem(
        'system.name',
        `${name} needs at least 2 table levels, to have a level at which replicas part: ${formatName(paging)} has ${levels}`,
      ),
    ];
  const root = 4 - levels;
  if (paging.format !== 'arm64' || splitLevel === null || splitLevel >= root) return [];
  return [problem('system.splitLevel', `${splitLevel} is above the root, level ${root}: ${formatName(paging)}`)];
}

/** Address bits that Linux has with 4K pages on arm64. */
const HYP_VA_BITS = [39, 48];
const HYP_PAGE = 4096n;

/** Tables of EL2 have 4K pages, and its walks no line caches. */
function hypInit({ system, paging, machine }: Config): Problem[] {
  if (paging.format !== 'arm64' || paging.granule !== '4K')
    return [problem('system.name', 'hyp-init needs paging.format arm64 with paging.granule 4K')];
  const found: Problem[] = [];
  const { hypArch, hypIdmap } = system;
  if (hypArch === 'arm64' && !HYP_VA_BITS.includes(paging.vaBits))
    found.push(problem('paging.vaBits', `expected ${HYP_VA_BITS.join(' or ')} with system.hypArch arm64`));
  if (paging.stage2)
    found.push(problem('paging.stage2', 'contradicts system.name hyp-init: guests are not modelled, use null'));
  if (machine.caches)
    found.push(
      problem('machine.caches', 'contradicts system.name hyp-init, whose walks have no line caches; use null'),
    );
  if (hypIdmap !== null && hypIdmap !== 'random') {
    const bits = hypArch === 'arm64' ? 48 : 32;
    const pa = BigInt(hypIdmap);
    if (pa % HYP_PAGE !== 0n || pa >> BigInt(bits))
      found.push(
        problem('system.hypIdmap', `expected a multiple of 4096 below 2^${bits} with system.hypArch ${hypArch}`),
      );
  }
  return found;
}

/** Buffers are whole pages, a guest has room for its own, and V3 needs the host at EL2. */
function spe({ system, paging }: Config): Problem[] {
  if (paging.format !== 'arm64') return [problem('system.name', 'spe needs paging.format arm64')];
  const { speStrategy, speVhe, spePeriod, speMinPeriod, speBufferBytes, speKernelBytes, speGuestBytes } = system;
  const page = 2 ** PAGE_SHIFTS[baseSize(paging)];
  const found: Problem[] = [];
  if (!speVhe && speStrategy.startsWith('copy'))
    found.push(
      problem(
        'system.speVhe',
        `false with system.speStrategy ${speStrategy} is unsupported: without VHE a buffer of KVM's own needs a contiguous mapping at EL2, which the prototype lacks; use speVhe: true or another strategy`,
      ),
    );
  if (spePeriod < speMinPeriod)
    found.push(problem('system.spePeriod', `expected at least system.speMinPeriod, ${speMinPeriod}`));
  for (const [name, bytes] of Object.entries({ speBufferBytes, speKernelBytes }))
    if (bytes === 0 || bytes % page !== 0)
      found.push(problem(`system.${name}`, `expected a multiple of the page, ${page} bytes, above 0`));
  if (speBufferBytes > speGuestBytes)
    found.push(problem('system.speBufferBytes', `does not fit in system.speGuestBytes, ${speGuestBytes}`));
  return found;
}

/** An option at its default says nothing, so that a resolved configuration can be stated again. */
function foreignOptions({ system, paging }: Config): Problem[] {
  return SYSTEM_OPTIONS.flatMap(({ options, systems, format }) => {
    if (systems.includes(system.name) && (format === null || format === paging.format)) return [];
    const owner = `${systems.join(' and ')}${format ? ` on ${format}` : ''}`;
    return options
      .filter((option) => !isDeepStrictEqual(system[option], SYSTEM_DEFAULTS[option]))
      .map((option) =>
        problem(
          `system.${option}`,
          `${shown(system[option])} is an option of ${owner}, and this is system.name ${system.name} with paging.format ${paging.format}`,
        ),
      );
  });
}

/** A fault that a system cannot have would be a test that passes whatever the checkers see. */
function foreignFaults({ system, paging }: Config): Problem[] {
  const own = `${system.name} ${paging.format}`;
  const found = system.inject
    .filter((fault) => system.name !== 'none' && !(FAULTS[fault] as readonly string[]).includes(own))
    .map((fault) => problem('system.inject', `${fault} is a fault of ${FAULTS[fault].join(' and ')}, not of ${own}`));
  if (system.inject.includes('cnp-across-nodes') && paging.format === 'arm64' && !system.cnp)
    found.push(problem('system.inject', 'cnp-across-nodes needs system.cnp: true, without which no root is common'));
  return found;
}

/** Rows of guests run at once, by clocks of their own; a search needs a first seed, and what it searches for. */
function stage2Faults({ system: { name, s2Seed, s2Seeds }, replay }: Config): Problem[] {
  if (name !== 'stage2-faults') return [];
  const found: Problem[] = [];
  if (replay.intervals !== null)
    found.push(
      problem(
        'replay.intervals',
        'contradicts system.name stage2-faults, whose rows run concurrently; its timeline is by simulated time, see system.s2SampleUs',
      ),
    );
  const needs = (what: string) => problem('system.s2Seeds', `${s2Seeds} needs ${what}`);
  if (s2Seeds > 1 && s2Seed === null) found.push(needs('system.s2Seed, the first of the seeds, such as 0'));
  else if (s2Seed !== null && s2Seed + s2Seeds > SEEDS) found.push(needs('seeds below 2^32'));
  if (s2Seeds > 1 && !replay.checks) found.push(needs('replay.checks: true, without which nothing is found'));
  return found;
}

/** What events do is all that a system does; and they act on the tables of one stage, or of the host's own two. */
function eventsApart({ system, paging, replay }: Config): Problem[] {
  const found: Problem[] = [];
  const cause =
    system.name !== 'none'
      ? `system.name ${system.name}`
      : replay.mapping === 'tables'
        ? 'replay.mapping tables'
        : replay.events
          ? 'replay.events true'
          : null;
  if (replay.events === false && cause)
    found.push(problem('replay.events', `false contradicts ${cause}, which expands events; leave it null`));
  if (paging.stage2 && cause && ['none', 'text-replication'].includes(system.name))
    found.push(
      problem(
        'paging.stage2',
        `contradicts ${cause}: the kernel whose events are expanded is not modelled as a guest; use paging.stage2: null`,
      ),
    );
  return found;
}
