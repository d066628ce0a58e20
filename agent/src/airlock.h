/* The stages of the program: each is one subcommand and returns its exit code. */
#ifndef GLOVEBOX_AIRLOCK_H
#define GLOVEBOX_AIRLOCK_H

#include <stdint.h>

int airlock_main(void);
int init_main(void);
/* `init` in the jail of a machine that goes on from a template. */
int recall_main(void);
int keep_main(void);
int stdio_main(void);
int finish_main(void);
int probe_main(void);

/* Enters an own user, mount and network namespace as its uid 0. NULL, or the step that failed with errno. */
const char *enter_namespaces(int flags);
/* Enters a user namespace in which the caller has these ids, and nobody else is known. */
const char *enter_user_namespace(uint32_t uid, uint32_t gid);
/* The same, with a network namespace that belongs to it. */
const char *enter_user_network(uint32_t uid, uint32_t gid);

#endif
