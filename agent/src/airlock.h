/* The stages of the program: each is one subcommand and returns its exit code. */
#ifndef GLOVEBOX_AIRLOCK_H
#define GLOVEBOX_AIRLOCK_H

int airlock_main(void);
int init_main(void);
int finish_main(void);
int probe_main(void);

/* Enters an own user, mount and network namespace as its uid 0. NULL, or the step that failed with errno. */
const char *enter_namespaces(int flags);

#endif
