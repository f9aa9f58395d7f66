// The list of counters: the only place where they are defined. Every CPU of every lane has one u64 per member.
//
// A member's name is its dotted key in a result by one rule (host/core/counters.ts): a capital letter starts a new segment
// of the key, an underscore before it continues the segment in camel case, an underscore before a digit starts a numeric
// segment (`_M1` is -1): TlbL1dHit is tlb.l1d.hit, WalkCache_HitsPde is walk.cacheHits.pde, WalkLevels_4 is walk.levels.4.

export enum Stat {
  AccessFetch,
  AccessLoad,
  AccessStore,
  AccessEvent,
  AccessInsns,

  TlbL1iHit,
  TlbL1iMiss,
  TlbL1dHit,
  TlbL1dMiss,
  TlbL2Hit,
  TlbL2Miss,

  WalkCount,
  WalkRefs,
  WalkLocal,
  WalkRemote,
  WalkStage2_Refs,
  // Descriptors read, by the level's architectural number: x86 5 to 1, Arm -1 to 3. The walker adds the level to WalkLevels_0.
  WalkLevels_M1,
  WalkLevels_0,
  WalkLevels_1,
  WalkLevels_2,
  WalkLevels_3,
  WalkLevels_4,
  WalkLevels_5,
  // Walk-cache hits, per format from the cache closest to the leaf upwards.
  WalkCache_HitsPde,
  WalkCache_HitsPdpte,
  WalkCache_HitsPml4e,
  WalkCache_HitsPml5e,
  WalkCache_HitsL2,
  WalkCache_HitsL1,
  WalkCache_HitsL0,
  WalkCache_HitsLm1,
  WalkCache_HitsIpa,
  WalkCache_HitsS2l2,
  WalkCache_HitsS2l1,
  WalkCache_HitsS2l0,
  WalkCache_HitsS2lm1,
  WalkUpdates,
  WalkRemaps,

  FaultDemand,
  FaultStage2,
  // hyp-init: a walk of EL2 found nothing; the kernel gave up because of where the init page is.
  FaultHyp_Translation,
  FaultHyp_Refused,

  MaintenanceTlbiInvlpg,
  MaintenanceTlbiCr3,
  MaintenanceTlbiGlobal,
  MaintenanceTlbiVmalle1,
  MaintenanceTlbiVaale1is,
  MaintenanceTlbiVmalle1is,
  MaintenanceTlbiVale1is,
  MaintenanceTlbiAside1is,
  MaintenanceTlbiIpas2e1is,
  MaintenanceTlbiVmalls12e1,
  MaintenanceTlbiVmalls12e1is,
  MaintenanceTlbiAlle1,
  MaintenanceTlbiAlle2,
  MaintenanceTlbiVae2is,
  MaintenanceIpiShootdown,
  MaintenanceIpiText_Poke,
  MaintenanceIpiStop_Machine,
  MaintenanceTrap,
  MaintenanceBarrier,
  MaintenanceRoot_Write,
  MaintenanceTable_Store,
  MaintenanceSync_Store,
  MaintenanceBytes_Copied,
  MaintenanceDc_Lines,
  MaintenanceIc_Lines,

  // Line caches: what was asked for is a fetch, data or a walk's descriptor; the core adds twice the number of its Source.
  CacheL1iFetchHit,
  CacheL1iFetchMiss,
  CacheL1dDataHit,
  CacheL1dDataMiss,
  CacheL1dWalkHit,
  CacheL1dWalkMiss,
  CacheL2FetchHit,
  CacheL2FetchMiss,
  CacheL2DataHit,
  CacheL2DataMiss,
  CacheL2WalkHit,
  CacheL2WalkMiss,
  CacheLlcFetchHit,
  CacheLlcFetchMiss,
  CacheLlcDataHit,
  CacheLlcDataMiss,
  CacheLlcWalkHit,
  CacheLlcWalkMiss,
  CacheMemoryFetchLocal,
  CacheMemoryFetchRemote,
  CacheMemoryDataLocal,
  CacheMemoryDataRemote,
  CacheMemoryWalkLocal,
  CacheMemoryWalkRemote,
  CacheLlcBack_Invalidated,
  CachePrefetchLines,
  CachePrefetchMemory,

  // In the order of Source. Raw latencies: how many misses overlap is the host's business.
  CyclesFetch,
  CyclesData,
  CyclesWalk,
  CyclesMaintenance,

  // Guests' stage-2 faults (docs/stage2faults.md)
  FaultTranslation,
  FaultPermission,
  FaultAccess_Flag,
  FaultRefault,
  FaultSpurious,
  FaultRetry,
  MaintenanceCas_Failed,
  MaintenanceTlbiRipas2e1is,
  MaintenanceTlbiIpas2e1,
  MaintenanceIpiFree_Table,
  MaintenanceDeferred_Max,
  MaintenanceDeferred_Byte_Cycles,
  MaintenanceBlackout,
  CyclesFault,
  CyclesLock,

  Count,
}

/** Adds `n` to a counter of the CPU whose block is given: its counters come first in the block. */
// @ts-ignore: decorator
@inline
export function ADD(block: usize, stat: Stat, n: u64): void {
  const counter = block + ((<usize>stat) << 3);
  store<u64>(counter, load<u64>(counter) + n);
}
