// What passes from the filter to the lanes: one look-up that may change some state.

/** A look-up at `va` by one CPU. */
@unmanaged
export class Look {
  va: u64;
  context: u64;
  /** The captured address of `va`, or PA_UNKNOWN. */
  pa: u64;
  cpu: u16;
  kind: u8;
  /** The capture shows the page in another frame than before. */
  remapped: bool;
}
