// DynamoRIO's v2p.textproto, the pages of one address space (clients/drcachesim/reader/v2p_reader.cpp; aux/ of Google's
// Workload Traces), protobuf in its text form:
//   # comment
//   page_size: 0x200000
//   address_mapping { virtual_address: 0x7f0000000000 physical_address: 0x40000000 }
// in groups or without, in any order, numbers hexadecimal or decimal; a field that is not there is 0. page_count and
// bytes_mapped are totals, checked only against each other. An address lies in the page that begins last at or before it.

import { lineBlocks } from '../blocks.js';
import { InputError } from '../errors.js';
import { openInput } from '../input.js';
import { shorten } from '../sniff.js';
import { type MappingFormat, type PageMapping } from './mapping.js';

const TOKEN = /\s*(?:#.*|([A-Za-z_]\w*)\s*:\s*([^\s{}#,;]+)|([A-Za-z_]\w*)\s*:?\s*(\{)|(\})|[,;])/y;
const NUMBER = /^(0x[0-9a-f]+|\d+)$/i;
const LIMIT = 1n << 64n;
const MAPPING = 'address_mapping';
const TOTALS = ['page_size', 'page_count', 'bytes_mapped'];

/** Reads a v2p.textproto, which may be packed. Throws InputError naming the line when it is none. */
export async function readV2p(path: string): Promise<PageMapping> {
  const input = await openInput(path);
  try {
    const parser = new Parser(path);
    for await (const block of lineBlocks(input.chunks, path)) {
      const text = Buffer.from(block.buffer, block.byteOffset, block.length - 1).toString('latin1');
      for (const line of text.split('\n')) parser.line(line);
    }
    return parser.mapping();
  } finally {
    await input.close();
  }
}

export const v2p: MappingFormat = {
  name: 'v2p',
  description: "DynamoRIO's v2p.textproto",
  detect(head) {
    const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
    return /^\s*(#.*\s*)*(page_size|page_count|bytes_mapped|address_mapping)\s*[:{]/.test(text);
  },
  read: (path) => readV2p(path),
};

class Parser {
  private lines = 0;
  /** Names of the blocks that are open. */
  private readonly open: string[] = [];
  private readonly totals = new Map<string, bigint>();
  private readonly pages = new Map<bigint, bigint>();
  private va: bigint | null = null;
  private pa: bigint | null = null;

  constructor(private readonly path: string) {}

  line(line: string): void {
    this.lines++;
    const text = line.trimEnd();
    for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) {
      const token = TOKEN.exec(text);
      if (!token)
        throw this.fault('a field "name: number", a block "name {" or its end', JSON.stringify(shorten(text)));
      const [, field, value, block, begin, end] = token;
      if (field) this.field(field, value);
      else if (begin) this.begin(block);
      else if (end) this.end();
    }
  }

  mapping(): PageMapping {
    const open = this.open.at(-1);
    if (open !== undefined) throw this.fault(`the end of the block ${open}`, 'the end of the file');
    const pageSize = this.totals.get('page_size');
    if (pageSize === undefined) throw this.fault('a page_size', 'none in the whole file');
    return mappingOf(this.path, Number(pageSize), this.pages);
  }

  private begin(name: string): void {
    if (this.open.at(-1) === MAPPING) throw this.fault(`the end of the block ${MAPPING}`, `a block ${name}`);
    this.open.push(name);
  }

  private end(): void {
    const name = this.open.pop();
    if (name === undefined) throw this.fault('a block before its end', '"}"');
    if (name !== MAPPING) return;
    const va = this.va ?? 0n;
    if (this.pages.has(va)) throw this.fault('every virtual_address once', `0x${va.toString(16)} again`);
    this.pages.set(va, this.pa ?? 0n);
    this.va = this.pa = null;
  }

  private field(name: string, text: string): void {
    const inMapping = this.open.at(-1) === MAPPING;
    if (inMapping && name === 'virtual_address') this.va = this.once(name, text, this.va);
    else if (inMapping && name === 'physical_address') this.pa = this.once(name, text, this.pa);
    else if (TOTALS.includes(name)) this.total(name, this.number(name, text));
  }

  private once(name: string, text: string, before: bigint | null): bigint {
    if (before !== null) throw this.fault(`one ${name} in a block`, 'another');
    return this.number(name, text);
  }

  /** Totals stand once per group and once for all. */
  private total(name: string, value: bigint): void {
    const before = this.totals.get(name);
    if (before !== undefined && before !== value) throw this.fault(`the ${name} from before, ${before}`, `${value}`);
    if (name === 'page_size' && (value === 0n || value > 1n << 40n || (value & (value - 1n)) !== 0n)) {
      throw this.fault('a page_size that is a power of two', `${value}`);
    }
    this.totals.set(name, value);
  }

  private number(name: string, text: string): bigint {
    const value = NUMBER.test(text) ? BigInt(text) : LIMIT;
    if (value >= LIMIT) throw this.fault(`a number of 64 bits as ${name}`, JSON.stringify(shorten(text)));
    return value;
  }

  private fault(expected: string, found: string): InputError {
    const at = `line ${this.lines}`;
    return new InputError({
      source: this.path,
      at,
      expected,
      found,
      advice: 'docs/formats.md describes v2p.textproto',
    });
  }
}

function mappingOf(path: string, pageBytes: number, pages: ReadonlyMap<bigint, bigint>): PageMapping {
  const starts = BigUint64Array.from(pages.keys()).sort();
  const frames = BigUint64Array.from(starts, (va) => pages.get(va)!);
  const bytes = BigInt(pageBytes);
  return {
    pageBytes,
    source: path,
    size: starts.length,
    translate(va) {
      let low = 0;
      let high = starts.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (starts[middle] <= va) low = middle + 1;
        else high = middle;
      }
      const offset = low === 0 ? bytes : va - starts[low - 1];
      return offset < bytes ? frames[low - 1] + offset : -1n;
    },
  };
}
