// The `machine.costs` section: what single operations of a kernel or hypervisor cost. Where a source gives a range the
// default is its middle, and the sentence says the range.
import { z } from 'zod';
import { key } from './key.js';

const cost = (cycles: number, sentence: string) => key(z.number().min(0).max(1e9).default(cycles), sentence, 'cycles');

export const costs = key(
  z
    .strictObject({
      // The size of a minor fault in Linux without zeroing the page; no source gives one number.
      demandFault: cost(1000, 'serving the first touch of a page'),
      rootWrite: cost(150, 'x86: writing CR3 without a flush; 100 to 200'),
      rootWriteFlush: cost(250, 'x86: writing CR3 with a flush; 200 to 300'),
      invlpg: cost(125, 'x86: INVLPG; 100 to 150'),
      invpcid: cost(150, 'x86: INVPCID; 100 to 200'),
      globalFlush: cost(400, 'x86: a flush of global entries too, by toggling CR4.PGE twice; one estimate'),
      ipiLocal: cost(1250, 'interrupt to a CPU of the same node, until its handler starts; 1000 to 1500'),
      ipiRemote: cost(2000, 'interrupt to a CPU of another node, likewise; 1500 to 2500'),
      ipiHandler: cost(300, 'handler of such an interrupt; one estimate'),
      shootdown: cost(
        1500,
        'x86: what the initiator of a TLB shootdown spends besides waiting for its slowest target; one estimate',
      ),
      tlbiLocal: cost(35, 'Arm: TLBI for this CPU; 20 to 50'),
      tlbiBroadcast: cost(
        350,
        'Arm: TLBI for the inner shareable domain with its DSB, while no other CPU sends one; 200 to 500',
      ),
      isb: cost(35, 'Arm: ISB; 20 to 50'),
      dsb: cost(35, 'Arm: DSB for this CPU (NSH); 20 to 50'),
      hvc: cost(
        275,
        'Arm: HVC from EL1 to EL2 and back without a switch of state; 150 to 400 (376 for Xen: Dall et al., ISCA 2016, unverified)',
      ),
      exitNvhe: cost(
        6500,
        'Arm without VHE: exit from a virtual machine and entry (X-Gene: Dall et al., ISCA 2016, unverified)',
      ),
      exitVhe: cost(2200, 'Arm with VHE: the same; a half to a quarter of it (Dall et al., ATC 2017, unverified)'),
      stage2Fault: cost(1500, 'Arm: taking and leaving a stage-2 fault of the host; no source gives one number'),
      cmoLine: cost(20, 'Arm: cleaning or invalidating one line (DC, IC); no source gives one number'),
      copyLine: cost(
        10,
        'copying 64 bytes between lines of the own node, to which latency of another node adds; no source gives one number',
      ),
      walkStep: cost(
        20,
        'stage2-faults: a step of a walk of stage 2, a load or CAS that a near cache serves; no source gives one number',
      ),
      pageAlloc: cost(500, 'allocating a page; no source gives one number'),
      speIrq: cost(1250, 'spe: from the event of the profiling unit to its interrupt; no source gives one number'),
      speHandler: cost(4000, "spe: the guest's handler of that interrupt, without traps; no source gives one number"),
      gup: cost(400, 'spe: finding and pinning a page of a guest (get_user_pages); no source gives one number'),
      stage2Map: cost(300, 'spe: having stage 2 map such a page; no source gives one number'),
      unpin: cost(100, 'spe: letting such a page go; no source gives one number'),
      guestRead: cost(20, "spe: KVM reads a word of the guest's tables; no source gives one number"),
    })
    .prefault({}),
  'times of what software does',
);
