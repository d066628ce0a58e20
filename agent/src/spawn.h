/* Starting one command. */
#ifndef GLOVEBOX_SPAWN_H
#define GLOVEBOX_SPAWN_H

#include <sys/types.h>

#include "spec.h"

/* The agent's ends; -1 where the command has none. All are close-on-exec and non-blocking. */
struct spawned {
    pid_t pid;
    int in, out, err, pty;
    int control; /* a second descriptor of the control channel, to read from */
};

struct spawn_error {
    const char *stage; /* "pty", "pipe", "fork", "session", "rlimit", "chdir", "exec" */
    int err;
};

/* Starts the command. False with `error` set when it did not start; nothing is left open then. */
bool spawn_command(const struct exec_spec *spec, const struct rlimits *common, struct spawned *out,
                   struct spawn_error *error);

#endif
