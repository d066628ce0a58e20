/* Entering control groups. */
#ifndef GLOVEBOX_JOIN_H
#define GLOVEBOX_JOIN_H

#include <sys/types.h>

#include "io.h"

/*
 * Enters each group through its file, `tasks` (version 1) or `cgroup.procs`. What is started before `finish_joining` may be
 * outside. Fails closed.
 */
pid_t begin_joining(const struct strings *files);
void finish_joining(pid_t child);

#endif
