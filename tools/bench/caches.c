// The yardstick for replays with line caches: docs/models.md and docs/caches.md in C, on columns that are in memory, for one machine.
// One page size (4 KiB) and four levels of real tables; frames of first touch or those of the trace; placement first-touch.
//
//   cc -std=c11 -O3 -march=native -o caches caches.c && ./caches COLUMNS ROWS REPETITIONS KEY=VALUE...
//
// COLUMNS holds, of ROWS rows each, va (u64), pa (u64), cpu (u16), kind, insns, mode (u8). Prints one JSON line: the best time of the
// replay loop over REPETITIONS fresh machines, and every counter over all CPUs under its key; cycles.* are
// latencies as they add up, before machine.mlp, cycles.walk those of descriptors. What is 0 or absent is not there:
//
//   format=x86-64 | arm64   mapping=demand | captured   nodes=0,0,1,1 (of the CPUs)   latency=240,370,370,240 (cycles, from x to)
//   range=FROM:TO:NODE (physical addresses from FROM up to TO; as often as needed)   l2Cycles llcCycles=N
//   tlb.l1i tlb.l1d tlb.l2=SETSxWAYS   walkCaches=32,4,2 (from the leaf upwards)   l1i l1d l2 llc=SETSxWAYS   llcCpus=N
//   inclusive=1   remoteCacheable=1   prefetch=0..2   walks=l1d | l2
//
// Sets keep the most recent entry first. An access whose page and line are in front of their sets changes nothing: it is counted by its kind
// and goes no further (Front). Hits of the first levels are what the misses leave of the rows.
#define _DEFAULT_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define UNLIKELY(x) __builtin_expect(x, 0)
#define MAX_CPUS 256
#define MAX_NODES 64
#define BLOCK 16384 // rows that are counted together
#define PAGE_FRONTS 16
#define LINE_FRONTS 64
#define PAGE_BYTES 4096
#define UNKNOWN_PA UINT64_MAX

// Node n owns [n << 40, (n + 1) << 40): table page number i of the machine at i pages, frames from the middle upwards. Captured addresses are
// others, though their numbers may be the same.
#define NODE_SHIFT 40
#define FRAMES (1ull << 39)
#define CAPTURED (1ull << 63)
#define NUMBER (((1ull << 52) - 1) >> 6) // a line's number without CAPTURED

// An entry of a line cache: line << 3 | flags; 0 is empty.
enum { VALID = 1, OWNED = 2, PREFETCHED = 4 };
typedef enum { FETCH, DATA, WALK } Asker;
static const char *const askers[] = {"fetch", "data", "walk"};
typedef enum { L1I, L1D, L2, LLC, CACHES } Cache;

typedef struct { unsigned sets, ways; } Shape;
typedef struct { uint64_t tag, table; } Cached;

// A line that is in front of its set, as the rows name it; so that aliases share a place, it goes by bits of the page offset.
typedef struct { uint64_t va, pa; } Front;

typedef struct Cpu {
  uint64_t counted[3];               // by kind, since the block began: rows, and instructions << 32
  uint64_t pageFront[2][PAGE_FRONTS]; // of data, of fetches: the page in front of the sets that share the place
  Front lineFront[3][LINE_FRONTS];    // by kind; a store needs a line that is owned
  unsigned node, cluster;
  bool seen;
  uint64_t *tlb[2], *stlb; // of data, of fetches; a set is its keys (page number | context), then their frames (| VALID)
  uint64_t *l1[2], *l2;
  Cached *walkCache[3];
  uint64_t kinds[3], events, insns;
  uint64_t tlbMisses[2], stlbHits, stlbMisses;
  uint64_t refs[4], remote, cacheHits[3], remaps, faults, walks;
  uint64_t hits[CACHES][3], misses[CACHES][3], memory[3][2]; // of L1I and L1D only what is not derived
  uint64_t prefetched, prefetchedFromMemory, backInvalidated, cycles[3];
} Cpu;

// The machine as it is asked for.
static bool arm, captured, inclusive, remoteCacheable, walksAtL2;
static unsigned cpuCount, nodeCount, clusterCount, llcCpus, prefetchLines;
static unsigned nodeOf[MAX_CPUS], latency[MAX_NODES * MAX_NODES], walkEntries[3];
static unsigned l2Cycles, llcCycles;
static Shape tlbShape[2], stlbShape, l1Shape[2], l2Shape, llcShape;
static struct { uint64_t from, to; unsigned node; } ranges[64];
static unsigned rangeCount;

// The trace, and the machine as it is.
static const uint64_t *va, *pa;
static const uint16_t *cpuOf;
static const uint8_t *kind, *insns, *mode;
static uint64_t contextOf[256]; // of a mode, as bits above a line number; never 0
static unsigned pageFronts, lineFronts; // places in use: powers of two that divide the numbers of sets
static Cpu cpus[MAX_CPUS];
static unsigned active[MAX_CPUS], activeCount; // the CPUs that have made an access
static uint64_t *llcs;
static uint64_t (*tables)[512]; // an entry is 0 or the address of the next table or the frame, | VALID
static size_t tableCount, tableRoom;
static uint64_t roots[4][2], nextFrame[MAX_NODES];

static void fail(const char *why, const char *what) {
  fprintf(stderr, "%s: %s\n", why, what);
  exit(2);
}

INLINE unsigned indexIn(Shape shape, uint64_t number) {
  return shape.sets & (shape.sets - 1) ? number % shape.sets : number & (shape.sets - 1);
}

// Sets of lines.

// Where an entry is; `ways` when it is not there. Sets of eight and four, the common ones, are compared and moved as one vector where
// the processor can: which way hits is hard to predict.
INLINE unsigned find(const uint64_t *set, unsigned ways, uint64_t ignored, uint64_t wanted) {
#ifdef __AVX512F__
  if (ways == 8) {
    __m512i entries = _mm512_andnot_si512(_mm512_set1_epi64(ignored), _mm512_loadu_si512(set));
    unsigned equal = _mm512_cmpeq_epi64_mask(entries, _mm512_set1_epi64(wanted));
    return equal ? __builtin_ctz(equal) : 8;
  }
  if (ways == 4) {
    __m256i entries = _mm256_andnot_si256(_mm256_set1_epi64x(ignored), _mm256_loadu_si256((const __m256i *)set));
    unsigned equal = _mm256_cmpeq_epi64_mask(entries, _mm256_set1_epi64x(wanted));
    return equal ? __builtin_ctz(equal) : 4;
  }
#endif
  unsigned at = 0;
  while (at < ways && (set[at] & ~ignored) != wanted) at++;
  return at;
}

// Brings `entry` to the front over the one at `at`.
INLINE void front(uint64_t *set, unsigned ways, unsigned at, uint64_t entry) {
#ifdef __AVX512F__
  if (ways == 8) {
    __m512i entries = _mm512_loadu_si512(set), moved = _mm512_alignr_epi64(entries, _mm512_set1_epi64(entry), 7);
    _mm512_storeu_si512(set, _mm512_mask_mov_epi64(entries, (2u << at) - 1, moved));
    return;
  }
  if (ways == 4) {
    __m256i entries = _mm256_loadu_si256((__m256i *)set), moved = _mm256_alignr_epi64(entries, _mm256_set1_epi64x(entry), 3);
    _mm256_storeu_si256((__m256i *)set, _mm256_mask_mov_epi64(entries, (2u << at) - 1, moved));
    return;
  }
#endif
  for (; at > 0; at--) set[at] = set[at - 1];
  set[0] = entry;
}

INLINE bool leave(uint64_t *set, unsigned ways, uint64_t wanted) {
  unsigned at = find(set, ways, OWNED | PREFETCHED, wanted);
  if (at == ways) return false;
  memmove(set + at, set + at + 1, (ways - 1 - at) * sizeof *set);
  set[ways - 1] = 0;
  return true;
}

INLINE uint64_t *setOf(uint64_t *cache, Shape shape, uint64_t wanted) {
  return cache + (size_t)indexIn(shape, wanted >> 3 & NUMBER) * shape.ways;
}

static unsigned homeOf(uint64_t wanted) {
  uint64_t address = wanted >> 3 << 6;
  if (!(address & CAPTURED)) return address >> NODE_SHIFT;
  address &= ~CAPTURED;
  for (unsigned i = 0; i < rangeCount; i++)
    if (address >= ranges[i].from && address < ranges[i].to) return ranges[i].node;
  return 0;
}

// The line caches of one access (docs/caches.md).

// The set of a line has another entry in front, or may have.
INLINE void forgetFront(Cpu *c, unsigned kindOfRow, uint64_t wanted) { c->lineFront[kindOfRow][wanted >> 3 & (lineFronts - 1)].va = 0; }

// A line leaves what a CPU has to itself; `cause` counts the caches that lost it to inclusion.
static void leavePrivate(Cpu *c, uint64_t wanted, Cpu *cause) {
  unsigned lost = leave(setOf(c->l1[1], l1Shape[1], wanted), l1Shape[1].ways, wanted);
  lost += leave(setOf(c->l1[0], l1Shape[0], wanted), l1Shape[0].ways, wanted);
  for (unsigned k = 0; k < 3; k++) forgetFront(c, k, wanted);
  if (l2Shape.ways) lost += leave(setOf(c->l2, l2Shape, wanted), l2Shape.ways, wanted);
  if (cause) cause->backInvalidated += lost;
}

static void leaveCluster(unsigned cluster, uint64_t wanted, Cpu *cause) {
  for (unsigned i = 0; i < activeCount; i++)
    if (cpus[active[i]].cluster == cluster) leavePrivate(cpus + active[i], wanted, cause);
}

INLINE uint64_t *llcNumber(unsigned number) { return llcs + (size_t)number * llcShape.sets * llcShape.ways; }

// Step 3: the other CPU that has written the line and owns it; it does not any more.
static Cpu *takeFromOwner(const Cpu *asking, uint64_t wanted) {
  for (unsigned i = 0; i < activeCount; i++) {
    Cpu *c = cpus + active[i];
    if (c == asking) continue;
    uint64_t *set = setOf(c->l1[0], l1Shape[0], wanted);
    unsigned at = find(set, l1Shape[0].ways, 0, wanted | OWNED);
    if (at == l1Shape[0].ways) continue;
    set[at] = wanted;
    forgetFront(c, 2, wanted);
    return c;
  }
  return NULL;
}

typedef enum { FROM_L2, FROM_LLC, FROM_MEMORY, FROM_CPU } Source;

// Steps 2 to 5. `quiet`: neither hits and misses nor latency are counted.
NOINLINE Source bring(Cpu *c, Asker asker, uint64_t wanted, bool quiet) {
  uint64_t *second = NULL;
  if (l2Shape.ways) {
    second = setOf(c->l2, l2Shape, wanted);
    unsigned at = find(second, l2Shape.ways, 0, wanted);
    if (at < l2Shape.ways) {
      front(second, l2Shape.ways, at, wanted);
      if (!quiet) c->hits[L2][asker]++, c->cycles[asker] += l2Cycles;
      return FROM_L2;
    }
    if (!quiet) c->misses[L2][asker]++;
  }
  const unsigned *latencies = latency + c->node * nodeCount;
  Cpu *owner = activeCount > 1 ? takeFromOwner(c, wanted) : NULL;
  unsigned home = homeOf(wanted), node = owner ? owner->node : home;
  Source source = owner ? FROM_CPU : FROM_MEMORY;
  if (llcShape.ways) {
    unsigned number = remoteCacheable ? c->cluster : home;
    uint64_t *set = setOf(llcNumber(number), llcShape, wanted);
    unsigned at = find(set, llcShape.ways, 0, wanted);
    if (owner ? !remoteCacheable || owner->cluster == c->cluster : at < llcShape.ways) source = FROM_LLC;
    if (!quiet && source == FROM_LLC) {
      c->hits[LLC][asker]++;
      c->cycles[asker] += llcCycles;
      if (!remoteCacheable && latencies[home] > latencies[c->node]) c->cycles[asker] += latencies[home] - latencies[c->node];
    } else if (!quiet) c->misses[LLC][asker]++;
    if (at == llcShape.ways) {
      uint64_t victim = set[--at];
      front(set, llcShape.ways, at, wanted);
      if (inclusive && victim) leaveCluster(number, victim, c);
    } else front(set, llcShape.ways, at, wanted);
  }
  if (!quiet && source != FROM_LLC) {
    c->memory[asker][node != c->node]++;
    c->cycles[asker] += latencies[node];
  }
  if (second) front(second, l2Shape.ways, l2Shape.ways - 1, wanted);
  return source;
}

static void prefetch(Cpu *c, uint64_t wanted) {
  unsigned last = (wanted >> 3 & 63) + prefetchLines;
  for (unsigned line = (wanted >> 3 & 63) + 1; line <= last && line < 64; line++) {
    wanted += 1 << 3;
    uint64_t *set = setOf(c->l1[1], l1Shape[1], wanted);
    if (find(set, l1Shape[1].ways, PREFETCHED, wanted) < l1Shape[1].ways) continue;
    c->prefetched++;
    c->prefetchedFromMemory += bring(c, FETCH, wanted, true) == FROM_MEMORY;
    front(set, l1Shape[1].ways, l1Shape[1].ways - 1, wanted | PREFETCHED);
    forgetFront(c, 0, wanted);
  }
}

// A fetch; whether its line is in front of its set afterwards.
INLINE bool fetchLine(Cpu *c, uint64_t wanted) {
  uint64_t *set = setOf(c->l1[1], l1Shape[1], wanted);
  unsigned ways = l1Shape[1].ways, at = find(set, ways, PREFETCHED, wanted);
  if (at < ways) {
    bool marked = set[at] & PREFETCHED;
    front(set, ways, at, wanted);
    if (!marked) return true;
    prefetch(c, wanted);
    return set[0] == wanted;
  }
  c->misses[L1I][FETCH]++;
  bring(c, FETCH, wanted, false);
  front(set, ways, ways - 1, wanted);
  prefetch(c, wanted);
  return set[0] == wanted;
}

// The line in front of a set becomes this CPU's: nobody else keeps a copy. A cluster whose inclusive LLC does not have it has none.
NOINLINE void own(Cpu *c, uint64_t *set, uint64_t wanted) {
  set[0] = wanted | OWNED;
  for (unsigned k = 0; remoteCacheable && llcShape.ways && k < clusterCount; k++)
    if (k != c->cluster && leave(setOf(llcNumber(k), llcShape, wanted), llcShape.ways, wanted) && inclusive) leaveCluster(k, wanted, c);
  for (unsigned i = 0; i < activeCount; i++) {
    Cpu *other = cpus + active[i];
    if (other != c && !(inclusive && other->cluster != c->cluster)) leavePrivate(other, wanted, NULL);
  }
}

// A load or store, of a program or of a walk; whether the line is owned afterwards.
INLINE bool dataLine(Cpu *c, Asker asker, uint64_t wanted, bool store) {
  uint64_t *set = setOf(c->l1[0], l1Shape[0], wanted);
  unsigned ways = l1Shape[0].ways, at = find(set, ways, OWNED, wanted);
  if (at < ways) {
    front(set, ways, at, set[at]);
    c->hits[L1D][asker]++;
  } else {
    c->misses[L1D][asker]++;
    bring(c, asker, wanted, false);
    front(set, ways, ways - 1, wanted);
  }
  if (store && !(set[0] & OWNED)) own(c, set, wanted);
  return set[0] & OWNED;
}

// A walk's read of a descriptor.
NOINLINE void walkLine(Cpu *c, uint64_t wanted) {
  if (walksAtL2) bring(c, WALK, wanted, false);
  else {
    dataLine(c, WALK, wanted, false);
    forgetFront(c, 1, wanted);
    forgetFront(c, 2, wanted);
  }
}

// Tables, TLBs and walks (docs/models.md).

static uint64_t newTable(unsigned node) {
  if (tableCount == tableRoom) {
    tableRoom = tableRoom ? tableRoom * 2 : 4096;
    tables = realloc(tables, tableRoom * PAGE_BYTES);
    if (!tables) fail("tables", "out of memory");
  }
  memset(tables[tableCount], 0, PAGE_BYTES);
  return (uint64_t)node << NODE_SHIFT | tableCount++ * PAGE_BYTES;
}

INLINE uint64_t *entryOf(uint64_t table, unsigned index) {
  return &tables[(table & (FRAMES - 1)) / PAGE_BYTES][index];
}

INLINE uint64_t *setOfPages(uint64_t *tlb, Shape shape, uint64_t key) {
  return tlb + (size_t)indexIn(shape, key & ((1ull << 52) - 1)) * shape.ways * 2;
}

static void dropPage(uint64_t *tlb, Shape shape, uint64_t key) {
  uint64_t *set = setOfPages(tlb, shape, key);
  for (unsigned i = 0; i < shape.ways; i++) {
    if (set[i] != key) continue;
    for (; i < shape.ways - 1; i++) set[i] = set[i + 1], set[shape.ways + i] = set[shape.ways + i + 1];
    set[i] = set[shape.ways + i] = 0;
  }
}

// Another frame for a page that is mapped: its translations leave all TLBs.
static void remap(Cpu *c, uint64_t *leaf, uint64_t key, uint64_t frame) {
  *leaf = frame | VALID;
  c->remaps++;
  for (unsigned i = 0; i < activeCount; i++) {
    Cpu *other = cpus + active[i];
    memset(other->pageFront, 0, sizeof other->pageFront);
    memset(other->lineFront, 0, sizeof other->lineFront);
    dropPage(other->tlb[0], tlbShape[0], key);
    dropPage(other->tlb[1], tlbShape[1], key);
    if (stlbShape.ways) dropPage(other->stlb, stlbShape, key);
  }
}

static uint64_t rootOf(Cpu *c, uint64_t a, uint64_t key) {
  uint64_t *root = &roots[key >> 52 & 3][arm ? a >> 55 & 1 : 0];
  if (!*root) *root = newTable(c->node) | VALID;
  return *root - VALID;
}

// A descriptor, which the walk reads through the caches.
static uint64_t *readEntry(Cpu *c, uint64_t table, unsigned level, unsigned index) {
  uint64_t wanted = (table + index * 8) >> 6 << 3 | VALID;
  c->refs[level]++;
  c->remote += table >> NODE_SHIFT != c->node;
  walkLine(c, wanted);
  return entryOf(table, index);
}

// Reads the descriptors below the walk cache that hits, and returns the leaf's entry; levels count from the leaf's, 0.
static uint64_t *leafEntry(Cpu *c, uint64_t a, uint64_t key) {
  const uint64_t context = key >> 52 << 52;
  uint64_t table = 0;
  unsigned level = 0;
  for (; level < 3; level++) {
    Cached *cache = c->walkCache[level];
    uint64_t tag = a >> (21 + 9 * level) | context;
    unsigned i = 0, entries = walkEntries[level];
    while (i < entries && cache[i].tag != tag) i++;
    if (i == entries) continue;
    Cached hit = cache[i];
    memmove(cache + 1, cache, i * sizeof *cache);
    cache[0] = hit;
    c->cacheHits[level]++;
    table = hit.table;
    break;
  }
  if (level == 3) table = rootOf(c, a, key);
  for (; level > 0; level--) {
    unsigned below = level - 1;
    uint64_t *entry = readEntry(c, table, level, a >> (12 + 9 * level) & 511);
    if (!*entry) {
      // A new table may move the tables.
      uint64_t made = newTable(c->node);
      *(entry = entryOf(table, a >> (12 + 9 * level) & 511)) = made | VALID;
    }
    table = *entry - VALID;
    if (!walkEntries[below]) continue;
    Cached *cache = c->walkCache[below];
    memmove(cache + 1, cache, (walkEntries[below] - 1) * sizeof *cache);
    cache[0] = (Cached){a >> (21 + 9 * below) | context, table};
  }
  return readEntry(c, table, 0, a >> 12 & 511);
}

// The frame; `known` is that of the row's physical address, or 0.
static uint64_t walk(Cpu *c, uint64_t a, uint64_t key, uint64_t known) {
  c->walks++;
  uint64_t *leaf = leafEntry(c, a, key);
  if (!*leaf) {
    c->faults++;
    *leaf = (known ? known : nextFrame[c->node]) | VALID;
    if (!known) nextFrame[c->node] += PAGE_BYTES;
  } else if (known && *leaf != (known | VALID)) remap(c, leaf, key, known);
  return *leaf - VALID;
}

// The leaf of a page that some TLB has, so that all tables are there.
static uint64_t *leafOfMapped(uint64_t a, uint64_t key) {
  uint64_t table = roots[key >> 52 & 3][arm ? a >> 55 & 1 : 0] - VALID;
  for (unsigned level = 3; level > 0; level--) table = *entryOf(table, a >> (12 + 9 * level) & 511) - VALID;
  return entryOf(table, a >> 12 & 511);
}

// The frame of a page in a set, which it becomes the front of; 0 when it is not there with the frame that is known.
INLINE uint64_t frameIn(Cpu *c, uint64_t *set, unsigned ways, uint64_t a, uint64_t key, uint64_t known) {
  unsigned at = find(set, ways, 0, key);
  if (at == ways) return 0;
  uint64_t frame = set[ways + at];
  if (UNLIKELY(known && frame != (known | VALID))) {
    remap(c, leafOfMapped(a, key), key, known);
    return 0;
  }
  front(set, ways, at, key);
  front(set + ways, ways, at, frame);
  return frame;
}

INLINE void enterPage(uint64_t *set, unsigned ways, uint64_t key, uint64_t frame) {
  front(set, ways, ways - 1, key);
  front(set + ways, ways, ways - 1, frame);
}

// The frame of a page.
INLINE uint64_t lookUp(Cpu *c, bool fetch, uint64_t a, uint64_t key, uint64_t known) {
  uint64_t *first = setOfPages(c->tlb[fetch], tlbShape[fetch], key);
  if (first[0] == key && (!known || first[tlbShape[fetch].ways] == (known | VALID))) return first[tlbShape[fetch].ways];
  uint64_t frame = frameIn(c, first, tlbShape[fetch].ways, a, key, known);
  if (frame) return frame;
  c->tlbMisses[fetch]++;
  uint64_t *second = stlbShape.ways ? setOfPages(c->stlb, stlbShape, key) : NULL;
  if (second && (frame = frameIn(c, second, stlbShape.ways, a, key, known))) {
    c->stlbHits++;
  } else {
    frame = walk(c, a, key, known) | VALID;
    if (second) {
      c->stlbMisses++;
      enterPage(second, stlbShape.ways, key, frame);
    }
  }
  enterPage(first, tlbShape[fetch].ways, key, frame);
  return frame;
}

// A row whose page or line is not in front.
NOINLINE void changed(Cpu *c, unsigned k, uint64_t a, uint64_t vline, uint64_t physical) {
  bool fetch = k == 0, isKnown = captured && physical != UNKNOWN_PA;
  uint64_t known = isKnown ? (physical & -PAGE_BYTES) | CAPTURED : 0;
  uint64_t frame = lookUp(c, fetch, a, vline >> 6, known);
  c->pageFront[fetch][vline >> 6 & (pageFronts - 1)] = vline >> 6;
  uint64_t wanted = ((frame & -PAGE_BYTES) | (a & (PAGE_BYTES - 1))) >> 6 << 3 | VALID;
  Front front = {vline, physical >> 6}, none = {0, 0};
  unsigned place = vline & (lineFronts - 1);
  if (fetch) c->lineFront[0][place] = fetchLine(c, wanted) ? front : none;
  else {
    c->lineFront[2][place] = dataLine(c, DATA, wanted, k == 2) ? front : none;
    c->lineFront[1][place] = front;
  }
}

// Rows of one CPU.
INLINE void rows(Cpu *c, size_t from, size_t to, const bool isCaptured, const unsigned pageMask, const unsigned lineMask) {
  for (size_t r = from; r < to; r++) {
    unsigned k = kind[r];
    if (UNLIKELY(k > 2)) {
      c->events++;
      continue;
    }
    uint64_t vline = va[r] >> 6 | contextOf[mode[r]];
    const Front *front = &c->lineFront[k][vline & lineMask];
    uint64_t differ = (c->pageFront[k == 0][vline >> 6 & pageMask] ^ vline >> 6) | (front->va ^ vline);
    if (isCaptured) differ |= front->pa ^ pa[r] >> 6;
    c->counted[k] += (uint64_t)insns[r] << 32 | 1;
    if (UNLIKELY(differ != 0)) changed(c, k, va[r], vline, pa[r]);
  }
}

static void count(Cpu *c) {
  for (unsigned k = 0; k < 3; k++) c->kinds[k] += c->counted[k] & UINT32_MAX;
  c->insns += c->counted[0] >> 32;
  memset(c->counted, 0, sizeof c->counted);
}

// The replay loop: the rows of a block, by runs of one CPU.
NOINLINE void replay(size_t from, size_t to) {
  while (from < to) {
    size_t first = from++;
    while (from < to && from - first < BLOCK && cpuOf[from] == cpuOf[first]) from++;
    Cpu *c = cpus + cpuOf[first];
    if (UNLIKELY(!c->seen)) {
      c->seen = true;
      active[activeCount++] = c - cpus;
    }
    if (pageFronts < PAGE_FRONTS || lineFronts < LINE_FRONTS) rows(c, first, from, captured, pageFronts - 1, lineFronts - 1);
    else if (captured) rows(c, first, from, true, PAGE_FRONTS - 1, LINE_FRONTS - 1);
    else rows(c, first, from, false, PAGE_FRONTS - 1, LINE_FRONTS - 1);
    count(c);
  }
}

// Set-up.

static void *zeros(size_t count, size_t bytes) {
  size_t size = (count * bytes + (2u << 20)) & -(2u << 20);
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("machine", "out of memory");
  if (size > 2u << 20) madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

static size_t linesOf(Shape shape) { return (size_t)shape.sets * shape.ways; }

// All that a CPU holds lies together; made once, emptied for each repetition.
static void freshMachine(void) {
  static uint8_t *memory[MAX_CPUS];
  static size_t llcBytes;
  size_t pages = linesOf(tlbShape[0]) + linesOf(tlbShape[1]) + linesOf(stlbShape);
  size_t lines = linesOf(l1Shape[0]) + linesOf(l1Shape[1]) + linesOf(l2Shape);
  size_t cached = walkEntries[0] + walkEntries[1] + walkEntries[2];
  size_t bytes = pages * 16 + lines * 8 + cached * sizeof(Cached);
  unsigned ofNode[MAX_NODES] = {0}, first[MAX_NODES] = {0};
  for (unsigned n = 0; n < cpuCount; n++) ofNode[nodeOf[n]]++;
  clusterCount = 0;
  for (unsigned node = 0; node < nodeCount; node++) {
    first[node] = clusterCount;
    clusterCount += llcCpus ? (ofNode[node] + llcCpus - 1) / llcCpus : 1;
    ofNode[node] = 0;
    nextFrame[node] = ((uint64_t)node << NODE_SHIFT) + FRAMES;
  }
  for (unsigned n = 0; n < cpuCount; n++) {
    Cpu *c = cpus + n;
    if (!memory[n]) memory[n] = zeros(bytes, 1);
    else if (c->seen) memset(memory[n], 0, bytes);
    unsigned node = nodeOf[n];
    *c = (Cpu){.node = node, .cluster = first[node] + (llcCpus ? ofNode[node]++ / llcCpus : 0)};
    uint64_t *at = (uint64_t *)memory[n];
    c->l1[1] = at, at += linesOf(l1Shape[1]);
    c->l1[0] = at, at += linesOf(l1Shape[0]);
    c->l2 = at, at += linesOf(l2Shape);
    c->tlb[1] = at, at += linesOf(tlbShape[1]) * 2;
    c->tlb[0] = at, at += linesOf(tlbShape[0]) * 2;
    c->stlb = at, at += linesOf(stlbShape) * 2;
    Cached *entry = (Cached *)at;
    for (unsigned level = 0; level < 3; level++) c->walkCache[level] = entry, entry += walkEntries[level];
  }
  if (!llcs) llcs = zeros(llcBytes = clusterCount * linesOf(llcShape) * 8, 1);
  memset(llcs, 0, llcBytes);
  activeCount = tableCount = 0;
  memset(roots, 0, sizeof roots);
}

static Shape shapeOf(const char *text) {
  Shape shape;
  if (sscanf(text, "%ux%u", &shape.sets, &shape.ways) != 2 || !shape.sets || !shape.ways) fail("not SETSxWAYS", text);
  return shape;
}

static unsigned listOf(const char *text, unsigned *list, unsigned room) {
  unsigned count = 0;
  for (char *end = (char *)text - 1; (end == text - 1 || *end == ',') && count < room;) list[count++] = strtoul(end + 1, &end, 0);
  return count;
}

static void option(const char *argument) {
  const char *value = strchr(argument, '=');
  if (!value) fail("not KEY=VALUE", argument);
  size_t length = value++ - argument;
#define IS(key) (length == sizeof key - 1 && !memcmp(argument, key, length))
  if (IS("format")) arm = !strcmp(value, "arm64");
  else if (IS("mapping")) captured = !strcmp(value, "captured");
  else if (IS("nodes")) cpuCount = listOf(value, nodeOf, MAX_CPUS);
  else if (IS("latency")) {
    unsigned count = listOf(value, latency, MAX_NODES * MAX_NODES);
    for (nodeCount = 1; nodeCount * nodeCount < count;) nodeCount++;
  } else if (IS("range")) {
    char *end;
    ranges[rangeCount].from = strtoull(value, &end, 0);
    ranges[rangeCount].to = strtoull(end + 1, &end, 0);
    ranges[rangeCount++].node = strtoul(end + 1, &end, 0);
    if (rangeCount == sizeof ranges / sizeof *ranges) fail("too many ranges", argument);
  } else if (IS("tlb.l1i")) tlbShape[1] = shapeOf(value);
  else if (IS("tlb.l1d")) tlbShape[0] = shapeOf(value);
  else if (IS("tlb.l2")) stlbShape = shapeOf(value);
  else if (IS("walkCaches")) listOf(value, walkEntries, 3);
  else if (IS("l1i")) l1Shape[1] = shapeOf(value);
  else if (IS("l1d")) l1Shape[0] = shapeOf(value);
  else if (IS("l2")) l2Shape = shapeOf(value);
  else if (IS("llc")) llcShape = shapeOf(value);
  else if (IS("llcCpus")) llcCpus = atoi(value);
  else if (IS("inclusive")) inclusive = atoi(value);
  else if (IS("remoteCacheable")) remoteCacheable = atoi(value);
  else if (IS("prefetch")) prefetchLines = atoi(value);
  else if (IS("walks")) walksAtL2 = !strcmp(value, "l2");
  else if (IS("l2Cycles")) l2Cycles = atoi(value);
  else if (IS("llcCycles")) llcCycles = atoi(value);
  else fail("unknown key", argument);
}

static void checkMachine(void) {
  if (!cpuCount || !nodeCount || !tlbShape[0].ways || !tlbShape[1].ways || !l1Shape[0].ways || !l1Shape[1].ways)
    fail("machine", "nodes, latency, tlb.l1i, tlb.l1d, l1i and l1d are needed");
  for (unsigned n = 0; n < cpuCount; n++)
    if (nodeOf[n] >= nodeCount) fail("nodes", "a node without latencies");
  if ((inclusive || llcCpus) && !(llcShape.ways && remoteCacheable)) fail("llc", "inclusive and llcCpus need one with remoteCacheable=1");
  for (pageFronts = PAGE_FRONTS; (tlbShape[0].sets | tlbShape[1].sets) & (pageFronts - 1);) pageFronts /= 2;
  for (lineFronts = LINE_FRONTS; (l1Shape[0].sets | l1Shape[1].sets) & (lineFronts - 1);) lineFronts /= 2;
}

// What comes out.

static void print(const char *key, uint64_t n) { printf(",\"%s\":%" PRIu64, key, n); }

#define SUM(member) sum(offsetof(Cpu, member))
static uint64_t sum(size_t member) {
  uint64_t total = 0;
  for (unsigned n = 0; n < cpuCount; n++) total += *(uint64_t *)((char *)(cpus + n) + member);
  return total;
}

static void printCounters(void) {
  static const char *const caches[] = {"l1i", "l1d", "l2", "llc"};
  static const char *const walkCaches[2][3] = {{"pde", "pdpte", "pml4e"}, {"l2", "l1", "l0"}};
  char key[64];
  uint64_t fetches = SUM(kinds[0]), data = SUM(kinds[1]) + SUM(kinds[2]), refs = 0;
  printf("\"access.fetch\":%" PRIu64, fetches);
  print("access.load", SUM(kinds[1]));
  print("access.store", SUM(kinds[2]));
  print("access.event", SUM(events));
  print("access.insns", SUM(insns));
  print("tlb.l1i.hit", fetches - SUM(tlbMisses[1]));
  print("tlb.l1i.miss", SUM(tlbMisses[1]));
  print("tlb.l1d.hit", data - SUM(tlbMisses[0]));
  print("tlb.l1d.miss", SUM(tlbMisses[0]));
  if (stlbShape.ways) print("tlb.l2.hit", SUM(stlbHits)), print("tlb.l2.miss", SUM(stlbMisses));
  for (unsigned level = 0; level < 4; level++) {
    refs += SUM(refs[level]);
    snprintf(key, sizeof key, "walk.levels.%u", arm ? 3 - level : level + 1);
    print(key, SUM(refs[level]));
    if (level == 3) break;
    snprintf(key, sizeof key, "walk.cacheHits.%s", walkCaches[arm][level]);
    print(key, SUM(cacheHits[level]));
  }
  print("walk.count", SUM(walks));
  print("walk.refs", refs);
  print("walk.local", refs - SUM(remote));
  print("walk.remote", SUM(remote));
  print("walk.remaps", SUM(remaps));
  print("fault.demand", SUM(faults));
  for (unsigned asker = FETCH; asker <= WALK; asker++) {
    for (unsigned cache = L1I; cache < CACHES; cache++) {
      if (cache == L1I ? asker != FETCH : cache == L1D ? asker == FETCH || (asker == WALK && walksAtL2) : cache == L2 ? !l2Shape.ways : !llcShape.ways) continue;
      uint64_t misses = SUM(misses[cache][asker]), hits = SUM(hits[cache][asker]);
      // Rows that changed nothing were not counted as hits.
      if (cache == L1I) hits = fetches - misses;
      if (cache == L1D && asker == DATA) hits = data - misses;
      snprintf(key, sizeof key, "cache.%s.%s.hit", caches[cache], askers[asker]);
      print(key, hits);
      snprintf(key, sizeof key, "cache.%s.%s.miss", caches[cache], askers[asker]);
      print(key, misses);
    }
    snprintf(key, sizeof key, "cache.memory.%s.local", askers[asker]);
    print(key, SUM(memory[asker][0]));
    snprintf(key, sizeof key, "cache.memory.%s.remote", askers[asker]);
    print(key, SUM(memory[asker][1]));
    snprintf(key, sizeof key, "cycles.%s", askers[asker]);
    print(key, SUM(cycles[asker]));
  }
  print("cache.prefetch.lines", SUM(prefetched));
  print("cache.prefetch.memory", SUM(prefetchedFromMemory));
  if (llcShape.ways) print("cache.llc.backInvalidated", SUM(backInvalidated));
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: caches COLUMNS ROWS REPETITIONS KEY=VALUE...\n"), 2;
  size_t count = strtoull(argv[2], NULL, 10), bytes = count * 21;
  for (int i = 4; i < argc; i++) option(argv[i]);
  checkMachine();
  char *columns = malloc(bytes + 1);
  FILE *file = fopen(argv[1], "rb");
  if (!columns || !file || fread(columns, 1, bytes, file) != bytes) return fprintf(stderr, "cannot read %s\n", argv[1]), 1;
  va = (uint64_t *)columns;
  pa = va + count;
  cpuOf = (uint16_t *)(pa + count);
  kind = (uint8_t *)(cpuOf + count);
  insns = kind + count;
  mode = insns + count;
  for (size_t r = 0; r < count; r++)
    if (cpuOf[r] >= cpuCount) fail("trace", "a CPU that the machine does not have");
  for (unsigned m = 0; m < 256; m++) contextOf[m] = (uint64_t)(4 | (m >> 4 & 1) << 1 | ((m & 15) == 2)) << 58;
  double shortest = 1e300;
  for (int repetitions = atoi(argv[3]); repetitions > 0; repetitions--) {
    freshMachine();
    double start = now();
    replay(0, count);
    double taken = now() - start;
    if (taken < shortest) shortest = taken;
  }
  printf("{\"ns\":%.4f,\"counters\":{", count ? shortest * 1e9 / count : 0);
  printCounters();
  printf("}}\n");
}
