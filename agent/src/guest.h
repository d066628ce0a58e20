/* The inside stage as the first process of a guest kernel: its network, and the ids that a sandbox has everywhere. */
#ifndef GLOVEBOX_GUEST_H
#define GLOVEBOX_GUEST_H

#include "spec.h"

/* A user namespace of the guest's in which the one user there is has the plan's ids. Fails closed. */
void guest_identity(const struct boot_spec *spec);
/*
 * The same in a container of an engine, which lends no capability: a network namespace comes along that belongs to the user
 * namespace, so that the agent may open the sandbox's listeners in it. Does nothing unless the host asks for it. Fails closed.
 */
void guest_network(const struct boot_spec *spec);

#endif
