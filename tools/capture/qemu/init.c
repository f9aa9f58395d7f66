/*
 * A first process for a capture: runs a few kinds of system calls between marks, pinned to the first and then to the last
 * CPU, and switches the machine off. It prints the addresses of the kernel's parts first. qemu.sh puts it into an initramfs.
 * Phases, plus 1 on the last CPU: 0x110 fork + exit + wait, 0x120 mmap + store + munmap, 0x130 open + close, 0x140 pipe.
 */
#define _GNU_SOURCE
#include "mark.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 4 };

static void pin(long cpu) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof only, &only) != 0) perror("init: sched_setaffinity");
}

static void do_fork(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
}

static void do_mmap(void) {
    volatile char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    munmap((void *)page, 4096);
}

static void do_open(void) { close(open("/dev/null", O_RDONLY)); }

static void do_pipe(void) {
    int ends[2];
    char buffer[64] = {0};
    if (pipe(ends) != 0) return;
    if (write(ends[1], buffer, sizeof buffer) > 0 && read(ends[0], buffer, sizeof buffer) < 0) perror("init: read");
    close(ends[0]);
    close(ends[1]);
}

/** Prints where the kernel's image lies, in the form that the plugin's symbols= takes. */
static void print_symbols(void) {
    static const char *const names[] = {" _text\n",          " _stext\n",       " _etext\n",           " __start_rodata\n",
                                        " __end_rodata\n",   " _sdata\n",       " _edata\n",           " __bss_start\n",
                                        " _end\n",           " __init_begin\n", " __hyp_text_start\n", " __hyp_text_end\n"};
    char line[512];
    mkdir("/proc", 0555);
    mount("proc", "/proc", "proc", 0, NULL);
    FILE *symbols = fopen("/proc/kallsyms", "r");
    while (symbols && fgets(line, sizeof line, symbols)) {
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
            const char *at = strstr(line, names[i]);
            if (at && at[strlen(names[i])] == '\0') printf("symbol: %s", line);
        }
    }
    if (symbols) fclose(symbols);
    fflush(stdout);
}

int main(void) {
    static void (*const work[])(void) = {do_fork, do_mmap, do_open, do_pipe};
    enum { KINDS = sizeof work / sizeof *work };
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    print_symbols();
    for (long cpu = 0; cpu < cpus; cpu++) {
        pin(cpu);
        if (nodewalk_learn() != 0) perror("init: a page that is writable and executable");
    }
    for (int run = 0; run < 2; run++) {
        pin(run == 0 ? 0 : cpus - 1);
        for (int kind = 0; kind < KINDS; kind++) work[kind](); /* warm-up */
        for (int kind = 0; kind < KINDS; kind++) {
            unsigned phase = 0x110 + 0x10 * kind + run;
            nodewalk_begin(phase);
            for (int round = 0; round < ROUNDS; round++) work[kind]();
            nodewalk_end(phase);
        }
    }
    nodewalk_mark_at(nodewalk_page, NODEWALK_QUIT);
    reboot(RB_POWER_OFF);
    return 0;
}
