// Which virtual addresses are text: the named regions of kernel text and read-only data.

import { Lane, TextRange } from '../layout';
import { withRoom } from '../memory/arena';
import { addWord, findWord } from '../memory/pagemap';

/** Adds the addresses [from, last]. */
export function addText(lane: Lane, from: u64, last: u64): void {
  lane.texts = withRoom(lane.texts, lane.textCount, offsetof<TextRange>());
  const range = changetype<TextRange>(lane.texts + lane.textCount++ * offsetof<TextRange>());
  range.from = from;
  range.last = last;
}

export function isText(lane: Lane, va: u64): bool {
  for (let i: u32 = 0; i < lane.textCount; i++) {
    const range = changetype<TextRange>(lane.texts + i * offsetof<TextRange>());
    if (range.from <= va && va <= range.last) return true;
  }
  return false;
}

/** Whether the frame of a page that an access to `va` maps goes where text goes, outside guests. */
export function hasTextHome(lane: Lane, va: u64): bool {
  return lane.textPlaced && isText(lane, va);
}

/** Notes, for lanes with line caches, that a frame was placed as text; its page may hold other addresses too. */
export function noteTextFrame(lane: Lane, frame: u64): void {
  if (lane.textFrames) addWord(lane.textFrames!, frame, 0, 0);
}

/** Whether a frame was placed as text. */
export function isTextFrame(lane: Lane, frame: u64): bool {
  return lane.textFrames ? findWord(lane.textFrames!, frame, 0) != 0 : false;
}
