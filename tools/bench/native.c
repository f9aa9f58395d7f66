// The yardstick for the replay loop: the same model in C, on the same columns, as fast as plain C gets it.
//
//   cc -O3 -march=native -o native native.c && ./native COLUMNS ROWS REPETITIONS
//
// COLUMNS holds va (u64 each), then cpu (u16 each), then kind (u8 each) of ROWS rows. One 4 KiB page size; first-level TLBs of 16 sets
// (8 ways for fetches, 4 for data), second level 128 x 12, walk caches of 32, 4 and 2 entries, four levels of real tables that are filled
// on first touch, counters per CPU. True LRU everywhere. Prints one JSON line: the best time of a bare scan of the
// columns, of looking every access up, and of looking only those up that are not to the page last seen in their set.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK 16384 // rows brought into the cache together
#define MAX_CPUS 256
#define SETS 16

typedef struct { uint64_t tag, table; } Cached;
typedef struct {
  uint64_t fetches, loads, stores, iMisses, dMisses, walks, refs;
  uint64_t last[2][SETS]; // VPN last looked up in each set: data, instruction
  uint64_t l1i[SETS][8], l1d[SETS][4], l2[128][12]; // VPN + 1, most recent first
  Cached pde[32], pdpte[4], pml4e[2];
} Cpu;

static const uint64_t *va;
static const uint16_t *cpuOf;
static const uint8_t *kind;
static Cpu *cpus[MAX_CPUS];
static uint64_t (*pages)[512]; // table pages; an entry is 0 or (number of the next page or frame) << 12 | 1
static size_t pageCount, pageRoom;

static uint64_t newPage(void) {
  if (pageCount == pageRoom) {
    pageRoom = pageRoom ? pageRoom * 2 : 4096;
    pages = realloc(pages, pageRoom * 4096);
    if (!pages) exit(1);
  }
  memset(pages[pageCount], 0, 4096);
  return pageCount++;
}

static Cpu *cpuNumber(unsigned n) {
  if (!cpus[n]) cpus[n] = calloc(1, sizeof(Cpu));
  return cpus[n];
}

// Moves `tag` to the front; the last one falls out when it was not there.
static inline bool use(uint64_t *set, unsigned ways, uint64_t tag) {
  uint64_t carried = tag;
  for (unsigned i = 0; i < ways; i++) {
    uint64_t here = set[i];
    set[i] = carried;
    if (here == tag) return true;
    carried = here;
  }
  return false;
}

static inline bool cached(Cached *cache, unsigned entries, uint64_t tag, uint64_t *table) {
  for (unsigned i = 0; i < entries; i++) {
    if (cache[i].tag != tag + 1) continue;
    Cached hit = cache[i];
    memmove(cache + 1, cache, i * sizeof *cache);
    cache[0] = hit;
    *table = hit.table;
    return true;
  }
  return false;
}

static inline void cache(Cached *cache, unsigned entries, uint64_t tag, uint64_t table) {
  memmove(cache + 1, cache, (entries - 1) * sizeof *cache);
  cache[0] = (Cached){tag + 1, table};
}

static uint64_t next(Cpu *c, uint64_t table, unsigned index, bool leaf) {
  c->refs++;
  if (!pages[table][index]) {
    uint64_t target = leaf ? 1 : newPage();
    pages[table][index] = target << 12 | 1;
  }
  return pages[table][index] >> 12;
}

static __attribute__((noinline)) void walk(Cpu *c, uint64_t a) {
  uint64_t table;
  c->walks++;
  if (!cached(c->pde, 32, a >> 21, &table)) {
    if (!cached(c->pdpte, 4, a >> 30, &table)) {
      if (!cached(c->pml4e, 2, a >> 39, &table)) {
        table = next(c, 0, a >> 39 & 511, false);
        cache(c->pml4e, 2, a >> 39, table);
      }
      table = next(c, table, a >> 30 & 511, false);
      cache(c->pdpte, 4, a >> 30, table);
    }
    table = next(c, table, a >> 21 & 511, false);
    cache(c->pde, 32, a >> 21, table);
  }
  next(c, table, a >> 12 & 511, true);
}

static inline void lookUp(Cpu *c, uint64_t a, bool fetch) {
  uint64_t vpn = a >> 12;
  if (fetch ? use(c->l1i[vpn % SETS], 8, vpn + 1) : use(c->l1d[vpn % SETS], 4, vpn + 1)) return;
  if (fetch) c->iMisses++;
  else c->dMisses++;
  if (!use(c->l2[vpn % 128], 12, vpn + 1)) walk(c, a);
}

static inline void count(Cpu *c, uint8_t k) {
  if (k == 0) c->fetches++;
  else if (k == 1) c->loads++;
  else c->stores++;
}

static void every(size_t from, size_t to) {
  for (size_t r = from; r < to; r++) {
    if (kind[r] > 2) continue;
    Cpu *c = cpuNumber(cpuOf[r]);
    count(c, kind[r]);
    lookUp(c, va[r], kind[r] == 0);
  }
}

static void changed(size_t from, size_t to) {
  for (size_t r = from; r < to; r++) {
    if (kind[r] > 2) continue;
    Cpu *c = cpuNumber(cpuOf[r]);
    bool fetch = kind[r] == 0;
    uint64_t vpn = va[r] >> 12, *last = &c->last[fetch][vpn % SETS];
    count(c, kind[r]);
    if (*last == vpn + 1) continue;
    *last = vpn + 1;
    lookUp(c, va[r], fetch);
  }
}

static volatile uint64_t sink;
static void scan(size_t from, size_t to) {
  uint64_t sum = 0;
  for (size_t r = from; r < to; r++) sum += va[r] + cpuOf[r] + kind[r];
  sink = sum;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double best(void (*variant)(size_t, size_t), size_t rows, int repetitions) {
  double shortest = 1e300;
  while (repetitions-- > 0) {
    for (int n = 0; n < MAX_CPUS; n++) { free(cpus[n]); cpus[n] = NULL; }
    pageCount = 0;
    newPage();
    double start = now();
    for (size_t r = 0; r < rows; r += BLOCK) variant(r, r + BLOCK < rows ? r + BLOCK : rows);
    double taken = now() - start;
    if (taken < shortest) shortest = taken;
  }
  return shortest * 1e9 / rows;
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: native COLUMNS ROWS REPETITIONS\n"), 2;
  size_t rows = strtoull(argv[2], NULL, 10), bytes = rows * 11;
  char *columns = malloc(bytes);
  FILE *file = fopen(argv[1], "rb");
  if (!columns || !file || fread(columns, 1, bytes, file) != bytes) return fprintf(stderr, "cannot read %s\n", argv[1]), 1;
  va = (uint64_t *)columns;
  cpuOf = (uint16_t *)(columns + rows * 8);
  kind = (uint8_t *)(columns + rows * 10);
  int repetitions = atoi(argv[3]);
  double scanNs = best(scan, rows, repetitions), everyNs = best(every, rows, repetitions), changedNs = best(changed, rows, repetitions);
  uint64_t iMisses = 0, dMisses = 0, walks = 0, refs = 0;
  for (int n = 0; n < MAX_CPUS; n++) {
    if (!cpus[n]) continue;
    iMisses += cpus[n]->iMisses; dMisses += cpus[n]->dMisses; walks += cpus[n]->walks; refs += cpus[n]->refs;
  }
  printf("{\"scanNs\":%.4f,\"everyNs\":%.4f,\"changedNs\":%.4f,\"l1iMiss\":%" PRIu64 ",\"l1dMiss\":%" PRIu64 ",\"walks\":%" PRIu64 ",\"refs\":%" PRIu64 "}\n",
    scanNs, everyNs, changedNs, iMisses, dMisses, walks, refs);
}
