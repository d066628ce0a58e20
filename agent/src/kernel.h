/*
 * Kernel interfaces that an old C library or musl without kernel headers does not declare: numbers, structures and
 * thin system call wrappers. Numbers from 424 on are the same on every architecture (asm-generic/unistd.h).
 */
#ifndef GLOVEBOX_KERNEL_H
#define GLOVEBOX_KERNEL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "glovebox-agent supports x86_64 and aarch64"
#endif

enum {
    NR_OPEN_TREE = 428,
    NR_MOVE_MOUNT = 429,
    NR_FSOPEN = 430,
    NR_FSCONFIG = 431,
    NR_FSMOUNT = 432,
    NR_PIDFD_OPEN = 434,
    NR_CLONE3 = 435,
    NR_CLOSE_RANGE = 436,
    NR_OPENAT2 = 437,
    NR_MOUNT_SETATTR = 442,
    NR_LANDLOCK_CREATE_RULESET = 444,
    NR_LANDLOCK_ADD_RULE = 445,
    NR_LANDLOCK_RESTRICT_SELF = 446,
};

/* open_tree(2), move_mount(2), mount_setattr(2) */
enum {
    K_AT_RECURSIVE = 0x8000,
    K_AT_EMPTY_PATH = 0x1000,
    K_OPEN_TREE_CLONE = 1,
    K_OPEN_TREE_CLOEXEC = 02000000,
    K_MOVE_MOUNT_F_EMPTY_PATH = 0x04,
    K_MOVE_MOUNT_T_EMPTY_PATH = 0x40,
    K_ATTR_RDONLY = 0x1,
    K_ATTR_NOSUID = 0x2,
    K_ATTR_NODEV = 0x4,
};

/* clone(2), clone3 */
#define K_CLONE_INTO_CGROUP 0x200000000ull

struct k_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct k_mount_attr {
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};

/* fsopen(2), fsconfig(2), fsmount(2) */
enum {
    K_FSOPEN_CLOEXEC = 1,
    K_FSMOUNT_CLOEXEC = 1,
    K_FSCONFIG_SET_STRING = 1,
    K_FSCONFIG_CREATE = 6,
    K_ATTR_NOEXEC = 0x8,
};

/* openat2(2) */
enum {
    K_RESOLVE_NO_XDEV = 0x01,
    K_RESOLVE_NO_MAGICLINKS = 0x02,
    K_RESOLVE_NO_SYMLINKS = 0x04,
    K_RESOLVE_BENEATH = 0x08,
    K_RESOLVE_IN_ROOT = 0x10,
};

struct k_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

/* The last descriptor that can be. gVisor's close_range(2) takes no greater number, and closing one by one takes it seconds. */
enum { K_CLOSE_RANGE_CLOEXEC = 4, K_FD_LAST = 0x7fffffff };

/* statx(2): the layout is fixed; `spare` covers what newer kernels append. */
struct k_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct {
        int64_t sec;
        uint32_t nsec;
        int32_t pad;
    } atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id;
    uint64_t spare[13];
};

enum {
    K_STATX_BASIC = 0x7ff,
    K_STATX_ATTR_MOUNT_ROOT = 0x2000,
};

/* landlock(7) */
enum {
    K_LANDLOCK_VERSION = 1,
    K_LANDLOCK_RULE_PATH = 1,
    K_LANDLOCK_SCOPE_ABSTRACT = 1,
    K_LANDLOCK_SCOPE_SIGNAL = 2,
};

struct k_landlock_ruleset {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct k_landlock_path {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/* seccomp(2) */
enum { K_SECCOMP_SET_FILTER = 1, K_SECCOMP_GET_ACTION_AVAIL = 2 };

struct k_sock_filter {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};

struct k_sock_fprog {
    unsigned short len;
    const struct k_sock_filter *filter;
};

/* capset(2), version 3: two 32-bit words */
struct k_cap_header {
    uint32_t version;
    int pid;
};

struct k_cap_data {
    uint32_t effective, permitted, inheritable;
};

enum { K_CAP_VERSION_3 = 0x20080522 };

/* vsock(7) */
enum { K_VMADDR_CID_ANY = 0xffffffffu };

/* netlink(7) */
struct k_sockaddr_nl {
    uint16_t family, pad;
    uint32_t port, groups;
};
enum { K_NETLINK_UEVENT = 15 };

struct k_sockaddr_vm {
    uint16_t family, reserved;
    uint32_t port, cid;
    uint8_t flags, zero[3];
};

/* keyctl(2) */
enum { K_KEYCTL_JOIN_SESSION_KEYRING = 1 };

static inline int k_open_tree(int fd, const char *path, unsigned flags) {
    return (int)syscall(NR_OPEN_TREE, fd, path, flags);
}

static inline int k_move_mount(int from, int to) {
    return (int)syscall(NR_MOVE_MOUNT, from, "", to, "", K_MOVE_MOUNT_F_EMPTY_PATH | K_MOVE_MOUNT_T_EMPTY_PATH);
}

static inline int k_mount_setattr(int fd, unsigned flags, const struct k_mount_attr *attr) {
    return (int)syscall(NR_MOUNT_SETATTR, fd, "", K_AT_EMPTY_PATH | flags, attr, sizeof *attr);
}

static inline int k_openat2(int fd, const char *path, uint64_t flags, uint64_t resolve) {
    struct k_open_how how = {.flags = flags, .mode = 0, .resolve = resolve};
    return (int)syscall(NR_OPENAT2, fd, path, &how, sizeof how);
}

static inline int k_statx(int fd, const char *path, int flags, struct k_statx *out) {
    return (int)syscall(SYS_statx, fd, path, flags, K_STATX_BASIC, out);
}

static inline int k_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(NR_CLOSE_RANGE, first, last, flags);
}

#endif
