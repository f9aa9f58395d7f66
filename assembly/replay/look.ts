// What passes from the filter to the lanes: one look-up that may change some state.

/** A look-up at `va` by one CPU. The captured address of `va`, where one is replayed, is in an array of its own (Filter.pas). */
@unmanaged
export class Look {
  va: u64;
  context: u64;
  cpu: u16;
  /** Flags, see below. */
  flags: u16;
  unused: u32;
}

/** An instruction fetch. In this place, the flag is the filter's mark for a fetch (SIDE_BYTES) moved up by LOOK_FETCH_SHIFT. */
export const LOOK_FETCH: u16 = 1;
export const LOOK_FETCH_SHIFT: u32 = 9;
/** A store, where dirty state is tracked. */
export const LOOK_STORE: u16 = 2;
/** The capture shows the page in another frame than before. */
export const LOOK_REMAPPED: u16 = 4;

export const LOOK_BYTES: u32 = 24;
