// The entry module: what the host sees. Enums are re-exported here because only the entry module's exports reach it.

export { Arch, Column, Level, Mapping, Policy, Status } from './layout';
export { Stat } from './stats';
export {
  addPageRule,
  addTlbArray,
  createLane,
  setCpuNode,
  setFormat,
  setLatency,
  setPageSizes,
  setPlacement,
  setReplay,
  setWalkCache,
  startLane,
} from './setup';
export { attachColumn, collectCounters, replayRows, replayStatus } from './replay/replay';
export { probe, tableBytesOf } from './probe';
export { allocate } from './memory/arena';
