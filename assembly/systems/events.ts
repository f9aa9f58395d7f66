// Numbers of the events and of their operands, as traces have them (traces/events.ts; a test holds both lists equal).

export enum Event {
  Boot = 32,
  CpuUp,
  CpuDown,
  CpuSuspend,
  CpuResume,
  CtxSwitch,
  KernelEnter,
  KernelExit,
  Kmap,
  Kunmap,
  SetMemory,
  TextPatch,
  ModuleLoad,
  ModuleUnload,
  BpfLoad,
  MmCreate,
  MmDestroy,
  UserPudAlloc,
  UserPudFree,
  UserMap,
  UserUnmap,
  UserProt,
  VmCreate,
  VmDestroy,
  VcpuLoad,
  VcpuPut,
  VmEntry,
  VmExit,
  Stage2Fault,
  Stage2Unmap,
  Stage2WriteProtect,
  Stage2Age,
  Stage2Split,
  HypInit,
  HypMap,
  HypUnmap,
  SpeProgram,
  SpeEnable,
  SpeDisable,
  SpeReadPtr,
  SpeDrain,
  SpeIrq,
}

/** How text is patched. */
export enum Method {
  NoSync,
  StopMachine,
  BreakpointBatch,
  Alternatives,
  Early,
}

/** Areas of the kernel's addresses. */
export enum Area {
  Image,
  Module,
  Vmalloc,
  Linear,
  Fixmap,
}
