/* The first process of a microVM's guest kernel. See "Machine" in docs/design/agent-protocol.md. */
#ifndef GLOVEBOX_MACHINE_H
#define GLOVEBOX_MACHINE_H

#include <netinet/in.h>

#include "spec.h"

/* One part of the sandbox's root. Paths are relative to where they are looked up, and plain; "." is all of a source. */
struct machine_mount {
    uint8_t kind;
    bool writable;
    char *target, *source;
    uint32_t mode;
    uint64_t bytes;
    struct slice content;
};

struct machine_spec {
    struct arena arena;
    char *hostname, *share, *base; /* the last two: tags of virtiofs */
    struct slice id, seed;
    uint64_t clock_ns;
    uint32_t uid, gid; /* inside, and as the guest's kernel knows the same user: those of the share's files */
    bool has_ids, has_network, has_ssh_agent;
    struct sockaddr_in relay;
    uint32_t relay_port; /* of AF_VSOCK, instead of that address */
    uint32_t files; /* that each file server can hold; 0: as many as fit into the machine */
    uint64_t copied_bytes; /* room for copied trees; 0: there are none */
    struct listeners listeners;
    struct machine_mount *mounts;
    size_t mount_count, mount_cap;
    uint32_t flags; /* enum machine_flag */
};

/* NULL, or what is wrong. Slices point into `payload`, which must outlive it. */
const char *machine_parse(struct slice payload, struct machine_spec *out);
/* The same for THAW: a clock alone, or all that makes a copy another machine. */
const char *machine_parse_thaw(struct slice payload, struct machine_spec *out);

int machine_main(void);

/* Where the machine's parts stand before the sandbox's root takes their place. */
#define MACHINE_BASE "/base"
#define MACHINE_SHARE "/share"
#define MACHINE_COPIED "/copied"
#define MACHINE_ROOT "/newroot"
#define MACHINE_BOOT_ID "/boot-id"
/* Where the relay of a guest kernel in the machine finds this one. */
#define MACHINE_RELAY "/relay.sock"
/* Where the ssh agent is reached that is lent. It is there only when a mount names it. */
#define MACHINE_SSH_AGENT "/ssh-agent.sock"

/* hardware.c: each fails closed. */
void hardware_mounts(void);
void hardware_modules(void);
/* The channel, on CHANNEL_FD. */
void hardware_channel(void);
void hardware_base(void);
/* Opens a port by its name, once it is there. */
int hardware_port(const char *port);
/* Until the host is there and has sent something. */
void hardware_await_host(int port);
/* Nanoseconds since the epoch. */
void hardware_clock(uint64_t ns);
/* What differs from one copy of the same machine to the next. */
void hardware_personal(const struct machine_spec *spec);
/* Gives the network card, where there is one, its address, and nothing a way to anywhere else. */
void hardware_card(void);
/*
 * Before the machine is switched off. The kernel resets its devices then, and its driver of the card (virtio_net of Linux 6.1) asks one that
 * is still at work for ever whether it has sent everything.
 */
void hardware_part(void);

/* machine_root.c: puts the sandbox's root together in MACHINE_ROOT, in the caller's own mount namespace. Fails closed. */
void machine_root(const struct machine_spec *spec);
/* Makes it the root, and lets go of everything else. */
void machine_enter_root(void);

/* machine_child.c: never returns: becomes the sandbox's first process. `network` is its network namespace. */
_Noreturn void machine_child(const struct machine_spec *spec, int network);


/* machine_runtime.c: a guest kernel's runtime as the sandbox, instead of commands. */
/* Gives up, for good, every capability but those that the runtime makes namespaces and file trees with. */
void runtime_bounding(void);
/* Runs the runtime, carries the channel to and from its guest, and ends as it does. */
_Noreturn void runtime_run(const struct boot_spec *boot);

#endif
