// What passes from the filter to the lanes: one look-up that may change some state.

/** A look-up at `va` by one CPU. The captured address of `va`, where one is replayed, is in an array of its own (Filter.pas). */
@unmanaged
export class Look {
  va: u64;
  context: u64;
  cpu: u16;
  kind: u8;
  /** The capture shows the page in another frame than before. */
  remapped: bool;
  unused: u32;
}

export const LOOK_BYTES: u32 = 24;
