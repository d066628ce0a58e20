/*
 * The keeper of a machine: a process beside the sandbox. Over a port of its own, which nobody of the sandbox has, the host tells it to hold the
 * sandbox still, and to let it go on, perhaps as another one. See "Keeper" in docs/design/agent-protocol.md.
 */
#ifndef GLOVEBOX_KEEPER_H
#define GLOVEBOX_KEEPER_H

#include <sys/types.h>

#include "machine.h"

/* Makes the control group that the sandbox will be in, and starts the keeper where the machine has a port for it. Before anybody knows of a sandbox. Fails closed. */
void keeper_start(void);
/* As fork(2), but the child is in the sandbox's control group, and in new namespaces of these kinds. */
pid_t keeper_clone(unsigned namespaces);
/* Whom it keeps. 0: there is no relay. */
void keeper_knows(pid_t sandbox, pid_t relay);
/* True when the relay ended because a copy needs another one. */
bool keeper_renews(void);
bool keeper_is(pid_t pid);
/* In the relay, before its first connection: one that has none is as good in a copy. */
void keeper_relay_speaks(void);

/* What the sandbox sees as boot id, of 16 bytes. Written in place, so that it changes wherever it is mounted. */
void keeper_boot_id(struct slice id);

#endif
