// Bulk translation through a table image: which root an address is looked up in, in which mode, and what the answer is.

import { InputError, UsageError } from '../../traces/errors.js';
import { type Pointer } from '../core/instance.js';
import { describe } from './fields.js';
import { loadPages, openImage, type TableImage } from './image.js';
import { type Regime } from './regimes.js';
import { type Roots, rootsOf } from './roots.js';
import { hex } from './text.js';
import { type Access, type Outcome, type Step, Walker } from './walker.js';

/** The checks that are on; none: a probe of addresses. */
export interface Checks {
  kind: Access['kind'];
  /** Unless given: the kernel for the upper half of the addresses and for stage 2, else the user. */
  mode?: 'user' | 'kernel';
}

/** A root that was set up in the core. */
interface LiveRoot {
  regime: Regime;
  pointer: Pointer;
}

const DEFAULT_MAX_PHYS_BITS = 52;

/** An image in the core, ready to translate. */
export class Translator {
  private readonly live = new Map<string, LiveRoot>();

  private constructor(
    readonly image: TableImage,
    private readonly roots: Roots,
    private readonly walker: Walker,
    private readonly maxPhysBits: number,
  ) {}

  /** Loads an image. Throws InputError when it is damaged. */
  static async open(folder: string, { maxPhysBits = DEFAULT_MAX_PHYS_BITS } = {}): Promise<Translator> {
    const image = await openImage(folder);
    const roots = rootsOf(image);
    if (roots.size === 0) {
      throw new InputError({
        ...{ source: folder, expected: 'a CPU whose registers point to tables', found: 'none in registers.json' },
      });
    }
    const walker = new Walker();
    loadPages(image, (page) => walker.addPage(page));
    return new Translator(image, roots, walker, maxPhysBits);
  }

  /** The names of all roots, by CPU. */
  get rootNames(): string[] {
    return [...this.roots.keys()];
  }

  /** What a root's registers say. */
  regime(root: string): Regime {
    return this.use(root).regime;
  }

  /** Whether the image has a root of that name. */
  has(root: string): boolean {
    return this.roots.has(root);
  }

  /** The name given with --root, or the only root when none is. Throws UsageError when that leaves none or several. */
  rootFor(named: string | undefined): string {
    const { folder } = this.image;
    if (named !== undefined && !this.has(named)) {
      throw new UsageError(`${folder} has no root "${named}"; it has ${this.rootNames.join(', ')}`);
    }
    const [name, another] = named !== undefined ? [named] : this.rootNames;
    if (another === undefined) return name;
    throw new UsageError(`${folder} has several roots: name one with --root: ${this.rootNames.join(', ')}`);
  }

  /** Translates an address. Throws InputError when a table that it needs is not in the image. */
  translate(root: string, address: bigint, checks: Checks | null): Outcome {
    const outcome = this.walker.translate(this.use(root).pointer, address, this.access(root, address, checks));
    if (outcome.status === 'no-memory') this.refuseMissingTable(root, address);
    return outcome;
  }

  /** The access that is checked at an address. */
  access(root: string, address: bigint, checks: Checks | null): Access | null {
    return checks && { kind: checks.kind, user: (checks.mode ?? usualMode(this.regime(root), address)) === 'user' };
  }

  /** The descriptors that the last translation read. */
  steps(): Step[] {
    return this.walker.steps();
  }

  private use(root: string): LiveRoot {
    let live = this.live.get(root);
    if (!live) {
      const regime = this.roots.get(this.rootFor(root))!();
      live = { regime, pointer: this.walker.addRegime(regime, this.maxPhysBits) };
      this.live.set(root, live);
    }
    return live;
  }

  private refuseMissingTable(root: string, address: bigint): never {
    const { pa, stage } = missingTable(this.use(root).regime, this.walker.steps());
    throw new InputError({
      ...{ source: this.image.folder, at: `root ${root}, address ${hex(address)}` },
      expected: `the stage-${stage} table at PA ${hex(pa)}`,
      found: 'no such page in tablepages.csv',
      advice: 'the image does not hold all tables of this root',
    });
  }
}

/** The table that a walk stopped at for want of its page, from the descriptors read before. */
function missingTable(regime: Regime, steps: readonly Step[]): { pa: bigint; stage: number } {
  const { x86, ept, stage1 } = regime;
  const stage2 = ept ?? regime.stage2;
  const addressIn = (step: Step) => describe(regime, step.stage, step.level, step.entry);
  const last = steps.at(-1);
  // With no step yet, and after a stage-1 step, a stage 2 begins at its root.
  if (stage2 && last?.stage !== 2) return { pa: stage2.root, stage: 2 };
  if (!last) return { pa: (x86 ?? stage1!).root, stage: 1 };
  const { kind, address } = addressIn(last);
  if (last.stage === 1 || kind === 'table') return { pa: address!, stage: last.stage };
  // Stage 2 found the frame of a stage-1 table.
  const above = steps.findLast((step) => step.stage === 1);
  const tableIpa = above ? addressIn(above).address! : (x86 ?? stage1!).root;
  const arm = regime.stage2;
  const leafShift = arm ? arm.pageShift + (3 - last.level) * (arm.pageShift - 3) : 12 + 9 * (last.level - 1);
  return { pa: address! | BigInt.asUintN(leafShift, tableIpa), stage: 1 };
}

/** The mode that an address is usually accessed in. */
export function usualMode({ stage1, x86 }: Regime, address: bigint): 'user' | 'kernel' {
  const upperHalf = x86 ? address >> 63n === 1n : stage1?.high;
  return (x86 || stage1) && !upperHalf ? 'user' : 'kernel';
}
