// Pages of a captured mapping whose frames the lane allocated, because the capture did not know them. Their addresses may be the
// numbers of captured ones, so whoever needs to tell them apart asks here.

import { Lane, Vm } from '../layout';
import { addWord, findWord } from '../memory/pagemap';
import { OWNER } from './space';

/** Notes, in captured mapping, whether the page at `va` has a frame of the lane's own. */
export function noteOwnFrame(lane: Lane, vm: Vm | null, context: u64, va: u64, own: bool): void {
  const pages = lane.ownPages;
  if (!pages || vm) return;
  const number = va >> lane.stage1.pageShift;
  const owner = OWNER(lane, context, va);
  const known = findWord(pages, number, owner);
  if (known) store<u64>(known, own ? 1 : 0);
  else if (own) addWord(pages, number, owner, 1);
}

/** Whether the mapped page at `va` has a captured frame. */
export function isCaptured(lane: Lane, va: u64, context: u64): bool {
  const pages = lane.ownPages;
  if (!pages) return false;
  const own = findWord(pages, va >> lane.stage1.pageShift, OWNER(lane, context, va));
  return !own || !load<u64>(own);
}
