/* A machine whose host is reached over AF_VSOCK, vsock(7): what a hypervisor without virtio-serial has instead. See "Machine" in docs/design/agent-protocol.md. */
#ifndef GLOVEBOX_VSOCK_H
#define GLOVEBOX_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel.h"

/* Where the first process listens for the host: PORTS of src/drivers/firecracker/layout.ts. */
enum { VSOCK_AGENT_PORT = 1024, VSOCK_FILES_PORT = 1026 };

/* The kernel's command line names the host's address, `glovebox_vsock=2`; that makes the channel a connection and not a port. */
bool vsock_wanted(void);
/* A host's address in decimal: not 0, which is the hypervisor, nor the one that stands for any. False when it is none. */
bool vsock_parse(const char *text, uint32_t *host);
/* The relay's gateway: this port of the host. Fails closed. */
struct k_sockaddr_vm vsock_gateway(uint32_t port);

/* Opens the listener, which outlives every connection. Fails closed. */
void vsock_listen(void);
/* Makes the next connection of the host, and of nobody else, CHANNEL_FD. Preconditions: vsock_listen. Fails closed. */
void vsock_accept(void);
/* The host's connection for copied trees, once it is there; nobody else gets one. Fails closed. */
int vsock_files(void);
/* Waits until the host says something on CHANNEL_FD, and leaves it there; false when it hung up instead. */
bool vsock_await_word(void);

#endif
