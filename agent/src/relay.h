/*
 * The way out of a guest kernel that has a network stack of its own: connections to the listeners of the plan are carried over
 * one unix socket to the gateway. See "Relay" in docs/design/agent-protocol.md.
 */
#ifndef GLOVEBOX_RELAY_H
#define GLOVEBOX_RELAY_H

#include <sys/socket.h>

#include "spec.h"

/* Makes every address local and opens the listeners; needs CAP_NET_ADMIN and CAP_NET_BIND_SERVICE. Fails closed. */
void relay_listen(const struct boot_spec *spec);
/* Serves them in a thread of its own, which no signal from inside reaches. After `confine`, whose filter it inherits. */
void relay_start(void);
/* Waits until the thread has the listeners, and lets go of them here. Before anything of the user's runs. */
void relay_release(void);

/* The same in a process of its own, in the kernel of a machine. First, in a new network namespace: every address is its own. Fails closed. */
void relay_own_addresses(void);
/* Then, in that namespace: the listeners. */
void relay_listen_linux(const struct listeners *list);
/* A unix socket instead, of this user's, for a guest kernel's relay: its connections are carried as they are. Fails closed. */
void relay_listen_unix(const char *path, uid_t owner);
/* A unix socket of this user's, whose connections go to the ssh agent that is lent. After the one of a guest kernel's relay. Fails closed. */
void relay_listen_ssh_agent(const char *path, uid_t owner);
/* Connects to the gateway, perhaps from another network namespace. `gateway` has to stay where it is. Fails closed. */
void relay_connect(const struct sockaddr *gateway, socklen_t size);
/* `speaks` is called before the first connection. */
_Noreturn void relay_run(void (*speaks)(void));

#endif
