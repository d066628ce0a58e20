#include <stdio.h>
#include <string.h>

#include "airlock.h"
#include "machine.h"
#include "proto.h"

#ifndef GLOVEBOX_AGENT_VERSION
#define GLOVEBOX_AGENT_VERSION "0.0.0"
#endif

static int version_main(void) {
    printf("glovebox-agent %s protocol %d\n", GLOVEBOX_AGENT_VERSION, PROTOCOL_VERSION);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} commands[] = {
    {"airlock", airlock_main}, {"init", init_main},   {"stdio", stdio_main},
    {"finish", finish_main},   {"probe", probe_main}, {"version", version_main},
    {"machine", machine_main}, {"recall", recall_main},
    {"keep", keep_main},
};

int main(int argc, char **argv) {
    /* The kernel of a machine hands its first process words of its command line. */
    if (argc > 0 && strcmp(argv[0], "/init") == 0) return machine_main();
    for (size_t i = 0; argc == 2 && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run();
    fputs("usage: glovebox-agent airlock|init|stdio|finish|probe|version|machine|recall|keep\n", stderr);
    return EXIT_REFUSED;
}
