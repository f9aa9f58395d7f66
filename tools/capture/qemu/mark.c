/*
 * The guest's side of a capture, for scripts: mark learn | begin N | end N | on | off | quit.
 * "learn" visits every CPU once, before the first phase; programs in C can include mark.h instead.
 */
#define _GNU_SOURCE
#include "mark.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int learn_everywhere(void) {
    for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(cpu, &only);
        if (sched_setaffinity(0, sizeof only, &only) == 0 && nodewalk_learn() != 0) {
            perror("mark: a page that is writable and executable");
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    char *rest = "";
    unsigned long phase = argc == 3 ? strtoul(argv[2], &rest, 0) : 0;
    if (argc == 3 && *rest == '\0' && phase >= 0x100 && phase <= 0x7ff) {
        if (!strcmp(verb, "begin")) return nodewalk_begin(phase), 0;
        if (!strcmp(verb, "end")) return nodewalk_end(phase), 0;
    } else if (argc == 2) {
        if (!strcmp(verb, "learn")) return learn_everywhere();
        if (!strcmp(verb, "on")) return nodewalk_mark_at(nodewalk_page, NODEWALK_ON), 0;
        if (!strcmp(verb, "off")) return nodewalk_mark_at(nodewalk_page, NODEWALK_OFF), 0;
        if (!strcmp(verb, "quit")) return nodewalk_mark_at(nodewalk_page, NODEWALK_QUIT), 0;
    }
    fprintf(stderr, "usage: mark learn | on | off | quit | begin PHASE | end PHASE   (0x100 to 0x7ff)\n");
    return 2;
}
