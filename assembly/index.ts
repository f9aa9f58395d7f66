// The entry module: what the host sees. Enums are re-exported here because only the entry module's exports reach it.

export { Cache, Column, Format, Level, Mapping, Policy, Scope, Status } from './layout';
export { Stat } from './stats';
export { Control, Permission } from './paging/descriptor';
export { Invalidation } from './tlb/invalidate';
export { IPA_CACHE, STAGE1_CACHES, STAGE2_CACHES } from './tlb/walkcache';
export {
  addMemoryRange,
  addPageRule,
  addPageSize,
  addTextRange,
  addTlbArray,
  createLane,
  setCache,
  setCaches,
  setCluster,
  setCpuNode,
  setLatency,
  setPageSizes,
  setPlacement,
  setReplay,
  setStage1,
  setStage2,
  setTextPlacement,
  setWalkCache,
  startLane,
} from './setup';
export {
  attachColumn,
  collectCounters,
  cool,
  invalidate,
  pollute,
  protect,
  replayRows,
  replayStatus,
  runEvent,
  runTableStore,
  stopAtEvents,
  unmap,
} from './replay/replay';
export { physicalAddress, probe, tableBytesOf } from './probe';
export { allocate } from './memory/arena';
export { addTablePage, loadFromImage } from './memory/image';
export {
  Access,
  createRegime,
  Outcome,
  outcomeCode,
  outcomeEntry,
  outcomeIpa,
  outcomeLevel,
  outcomePa,
  outcomePageShift,
  outcomePermissions,
  outcomeS2Level,
  outcomeS2PageShift,
  outcomeStage,
  setArmStage1,
  setArmStage2,
  setEpt,
  setX86,
  stepCount,
  stepEntry,
  stepEntryPa,
  stepLevel,
  stepStage,
  stepTablePa,
  translate,
} from './paging/translate';
export { Check, Cost, Fault, Option, Part, System } from './layout';
export { Area, Event, Method } from './systems/events';
export {
  addImagePart,
  bootKernel,
  importKernelRoot,
  replicaBytesOf,
  replicaTableBytesOf,
  setCost,
  setImage,
  setStage2Pool,
  setSystem,
  violationCount,
  violationCpu,
  violationRecord,
  violationVa,
} from './event';
export { HypScheme, HypState, setHyp, setHypLayout } from './hyp/machine';
export { hypAddress, hypDescriptor, hypInitPa, hypStateOf } from './hyp/probe';
export { runInterleavings } from './stage2/interleave';
export { Point, setStage2Timeline, stage2PointCount, stage2Points } from './stage2/timeline';
export { setStage2Seed, stage2Clock } from './stage2/schedule';
export { endTakenEvents, runTakenEvents } from './replay/replay';
export { finishSpe, setSpe } from './spe/events';
export { clearSpeStream, speStream, speStreamBytes } from './spe/probe';
export { SpeParameter, SpeStrategy } from './spe/records';
