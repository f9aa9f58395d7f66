// The one helper that prints plain-text tables: a header, a rule under it, two spaces between columns, numbers to the
// right. No colours, so that the output can be pasted into a mail.

import CliTable from 'cli-table3';
import { number } from './format.js';

/** A column. Without `align`, columns that hold only numbers go to the right, all others to the left. */
export interface Header {
  name: string;
  align?: 'left' | 'right';
}

/** The table as lines, the last one ended. Numbers are written by `format.number`, null as "-". */
export function table(headers: Header[], rows: (string | number | null)[][]): string {
  const aligns = headers.map(
    ({ align }, i) => align ?? (rows.every((row) => typeof row[i] !== 'string') ? 'right' : 'left'),
  );
  const printer = new CliTable({
    head: headers.map(({ name }) => printable(name)),
    colAligns: aligns,
    chars: BORDERS,
    style: { compact: true, head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  printer.push(...rows.map((row) => row.map(text)));
  return printer.toString().replace(/ +$/gm, '') + '\n';
}

/** Only the rule below the header is drawn. */
const BORDERS = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  ...{ left: '', 'left-mid': '', right: '', 'right-mid': '' },
  ...{ mid: '-', 'mid-mid': '  ', middle: '  ' },
};

function text(cell: string | number | null): string {
  return cell === null ? '-' : typeof cell === 'number' ? number(cell) : printable(cell);
}

/** Names come from traces: a control character among them must not reach the terminal. */
function printable(name: string): string {
  return name.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
