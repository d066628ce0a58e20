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
    bool has_ids, has_network;
    struct in_addr address;
    uint8_t prefix_len;
    struct sockaddr_in relay;
    struct listeners listeners;
    struct machine_mount *mounts;
    size_t mount_count, mount_cap;
    uint32_t flags; /* enum machine_flag */
};

/* NULL, or what is wrong. Slices point into `payload`, which must outlive it. */
const char *machine_parse(struct slice payload, struct machine_spec *out);

int machine_main(void);

/* Where the machine's parts stand before the sandbox's root takes their place. */
#define MACHINE_BASE "/base"
#define MACHINE_SHARE "/share"
#define MACHINE_ROOT "/newroot"
/* Where the relay of a guest kernel in the machine finds this one. */
#define MACHINE_RELAY "/relay.sock"

/* hardware.c: each fails closed. */
void hardware_mounts(void);
void hardware_modules(void);
/* The channel, on CHANNEL_FD. */
void hardware_channel(void);
void hardware_base(void);
/* Until the host is there and has sent something. */
void hardware_await_host(void);
/* What differs from one copy of the same machine to the next. */
void hardware_personal(const struct machine_spec *spec);
/* Gives the network card its address, and nothing a way to anywhere else. */
void hardware_card(const struct machine_spec *spec);

/* machine_root.c: puts the sandbox's root together in MACHINE_ROOT, in the caller's own mount namespace. Fails closed. */
void machine_root(const struct machine_spec *spec);
/* Makes it the root, and lets go of everything else. */
void machine_enter_root(void);

/* machine_child.c: never returns: becomes the sandbox's first process. `network` is its network namespace. */
_Noreturn void machine_child(const struct machine_spec *spec, int network);


/* machine_runtime.c: a guest kernel's runtime as the sandbox, instead of commands. */
/* Gives up, for good, every capability but those that the runtime makes namespaces and file trees with. */
void runtime_bounding(void);
/* Runs the runtime with the channel, which is its guest's from then on, and ends as it does. */
_Noreturn void runtime_run(const struct boot_spec *boot);

#endif
