/* The root of a machine's sandbox: a small tmpfs with what the host wants to be seen, as bubblewrap makes it elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fail.h"
#include "machine.h"
#include "mask.h"
#include "proto.h"

enum {
    ATTR_PLAIN = K_ATTR_NOSUID | K_ATTR_NODEV,
    ATTR_FROZEN = ATTR_PLAIN | K_ATTR_RDONLY,
    /* A device on a read-only mount can be written to; its owner and mode cannot be changed. */
    ATTR_DEVICE = K_ATTR_NOSUID | K_ATTR_NOEXEC | K_ATTR_RDONLY,
    NO_LINKS = K_RESOLVE_BENEATH | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_NO_MAGICLINKS,
};

/* Descriptors of the namespace that the root is made in. */
struct places {
    int root, base, share, copied, here;
    /* Whose all of it is: the sandbox's user, as in the other tiers. Programs look at who owns a home. */
    uid_t uid;
    gid_t gid;
};

struct option {
    const char *name, *value;
};

/* An unattached mount. -1 with errno. */
static int new_mount(const char *type, const struct option *options, unsigned attributes) {
    int context = (int)syscall(NR_FSOPEN, type, K_FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    bool ok = true;
    for (const struct option *o = options; ok && o != NULL && o->name != NULL; o++)
        ok = syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_STRING, o->name, o->value, 0) == 0;
    ok = ok && syscall(NR_FSCONFIG, context, K_FSCONFIG_CREATE, NULL, NULL, 0) == 0;
    int fd = ok ? (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC, attributes) : -1;
    int saved = errno;
    close(context);
    errno = saved;
    return fd;
}

static int look(int dir, const char *path, uint64_t flags) { return k_openat2(dir, path, flags | O_PATH | O_CLOEXEC, NO_LINKS); }

static int make_dir(const struct places *at, int dir, const char *name, mode_t mode) {
    if (mkdirat(dir, name, 0700) < 0) return errno == EEXIST ? 0 : -1;
    if (fchownat(dir, name, at->uid, at->gid, AT_SYMLINK_NOFOLLOW) < 0) return -1;
    return fchmodat(dir, name, mode, 0);
}

/* The directory that holds the last component of a target, made where it is missing. Through no link: a share's are not ours. */
static int open_parent(const struct places *at, const char *target, const char **name) {
    int dir = look(at->root, ".", O_DIRECTORY);
    *name = target;
    for (const char *slash = strchr(target, '/'); dir >= 0 && slash != NULL; slash = strchr(slash + 1, '/')) {
        char part[256];
        snprintf(part, sizeof part, "%.*s", (int)(slash - *name), *name);
        int next = make_dir(at, dir, part, 0755) < 0 ? -1 : look(dir, part, O_DIRECTORY);
        int saved = errno;
        close(dir);
        errno = saved;
        dir = next;
        *name = slash + 1;
    }
    return dir;
}

/* What a mount covers: made where it is missing. */
static int open_target(const struct places *at, const char *target, bool directory) {
    const char *name;
    int dir = open_parent(at, target, &name);
    if (dir < 0) fail_sys("mkdir", target);
    if (directory) {
        if (make_dir(at, dir, name, 0755) < 0) fail_sys("mkdir", target);
    } else {
        int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) fail_sys("create", target);
        if (fd >= 0) close(fd);
    }
    int fd = look(dir, name, 0);
    if (fd < 0) fail_sys("open", target);
    close(dir);
    return fd;
}

static void attach(const struct places *at, int mount, const char *target, const char *op) {
    if (mount < 0) fail_sys(op, target);
    int fd = open_target(at, target, true);
    if (k_move_mount(mount, fd) < 0) fail_sys("move_mount", target);
    close(fd);
    close(mount);
}

static void mount_over(const struct places *at, int source, const char *target, uint64_t attributes) {
    struct stat st;
    if (source < 0 || fstat(source, &st) < 0) fail_sys("open", target);
    int fd = open_target(at, target, S_ISDIR(st.st_mode));
    if (!bind_over(source, fd, S_ISDIR(st.st_mode), attributes)) fail_sys("bind", target);
    close(fd);
    close(source);
}

/* A base is an image that anybody may have made, with links that mean its own root; a share holds trees that a sandbox wrote to. */
static void bind_part(const struct places *at, const struct machine_mount *m) {
    bool base = m->kind == MOUNT_BASE;
    int place = m->kind == MOUNT_COPIED ? at->copied : at->share;
    int source = base ? k_openat2(at->base, m->source, O_PATH | O_CLOEXEC, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_MAGICLINKS)
                      : look(place, m->source, 0);
    if (source < 0) fail_sys(base ? "open base" : "open tree", m->source);
    mount_over(at, source, m->target, m->writable && !base ? ATTR_PLAIN : ATTR_FROZEN);
}

static void make_link(const struct places *at, const char *target, const char *to) {
    const char *name;
    int dir = open_parent(at, target, &name);
    if (dir < 0 || symlinkat(to, dir, name) < 0) fail_sys("symlink", target);
    close(dir);
}

static void add_tmpfs(const struct places *at, const char *target, uint32_t mode, uint64_t bytes, unsigned attributes) {
    char size[24], bits[8], uid[12], gid[12];
    snprintf(uid, sizeof uid, "%u", at->uid);
    snprintf(gid, sizeof gid, "%u", at->gid);
    snprintf(size, sizeof size, "%llu", (unsigned long long)bytes);
    snprintf(bits, sizeof bits, "%o", (unsigned)mode);
    const struct option options[] = {{"source", "tmpfs"}, {"size", size}, {"mode", bits},
                                     {"uid", uid},        {"gid", gid},   {NULL, NULL}};
    attach(at, new_mount("tmpfs", options, attributes), target, "mount tmpfs");
}

static void add_directory(const struct places *at, const struct machine_mount *m) {
    const char *name;
    int dir = open_parent(at, m->target, &name);
    if (dir < 0 || make_dir(at, dir, name, m->mode) < 0) fail_sys("mkdir", m->target);
    close(dir);
}

/* Parts of /proc that speak for the machine: whoever is its kernel's user 0 could write there without any capability. */
static void freeze_proc(const struct places *at, const char *target) {
    static const char *const parts[] = {"sys", "sysrq-trigger", "irq", "bus", "acpi", "fs", "scsi", "driver"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", target, parts[i]);
        int fd = look(at->root, path, 0);
        if (fd < 0 && errno == ENOENT) continue;
        mount_over(at, fd, path, ATTR_FROZEN | K_ATTR_NOEXEC);
    }
}

/* Copies of one snapshot would share the kernel's: proc(5), random(4). */
static void personal_boot_id(const struct places *at, const char *target) {
    char path[64];
    snprintf(path, sizeof path, "%s/sys/kernel/random/boot_id", target);
    mount_over(at, look(AT_FDCWD, &MACHINE_BOOT_ID[1], 0), path, ATTR_FROZEN);
}

static void add_proc(const struct places *at, const struct machine_spec *spec, const char *target) {
    static const struct option options[] = {{"source", "proc"}, {NULL, NULL}};
    attach(at, new_mount("proc", options, ATTR_PLAIN | K_ATTR_NOEXEC), target, "mount proc");
    /* The runtime's processes see it, and a runtime that mounts one of its own must see all of it: mount_namespaces(7). */
    if ((spec->flags & MACHINE_RUNTIME) != 0) return;
    freeze_proc(at, target);
    personal_boot_id(at, target);
}

static void add_devices(const struct places *at, const char *target) {
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const links[][2] = {{"fd", "/proc/self/fd"},         {"stdin", "/proc/self/fd/0"},
                                           {"stdout", "/proc/self/fd/1"},   {"stderr", "/proc/self/fd/2"},
                                           {"core", "/proc/kcore"},         {"ptmx", "pts/ptmx"}};
    static const struct option terminals[] = {{"source", "devpts"}, {"ptmxmode", "0666"}, {"mode", "620"}, {NULL, NULL}};
    char path[300], source[32];
    add_tmpfs(at, target, 0755, 1 << 20, ATTR_PLAIN | K_ATTR_NOEXEC);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        snprintf(path, sizeof path, "%s/%s", target, nodes[i]);
        snprintf(source, sizeof source, "/dev/%s", nodes[i]);
        mount_over(at, open(source, O_PATH | O_CLOEXEC), path, ATTR_DEVICE);
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(path, sizeof path, "%s/%s", target, links[i][0]);
        make_link(at, path, links[i][1]);
    }
    snprintf(path, sizeof path, "%s/pts", target);
    attach(at, new_mount("devpts", terminals, K_ATTR_NOSUID | K_ATTR_NOEXEC), path, "mount devpts");
    snprintf(path, sizeof path, "%s/shm", target);
    const char *name;
    int dir = open_parent(at, path, &name);
    if (dir < 0 || make_dir(at, dir, name, 01777) < 0) fail_sys("mkdir", path);
    close(dir);
}

static void add_hidden(const struct places *at, const char *target, bool directory) {
    const char *name = directory ? "hidden-dir" : "hidden-file";
    mount_over(at, look(at->here, name, 0), target, ATTR_FROZEN);
}

static void add_file(const struct places *at, const struct machine_mount *m, size_t number) {
    char name[32];
    snprintf(name, sizeof name, "file-%zu", number);
    int fd = openat(at->here, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || !write_all(fd, m->content.ptr, m->content.len)) fail_sys("create", m->target);
    close(fd);
    if (fchownat(at->here, name, at->uid, at->gid, 0) < 0) fail_sys("chown", m->target);
    if (fchmodat(at->here, name, m->mode, 0) < 0) fail_sys("chmod", m->target);
    mount_over(at, look(at->here, name, 0), m->target, ATTR_FROZEN);
}

static void add_one(const struct places *at, const struct machine_spec *spec, size_t number) {
    const struct machine_mount *m = &spec->mounts[number];
    switch (m->kind) {
    case MOUNT_BASE:
    case MOUNT_COPIED:
    case MOUNT_SHARE: bind_part(at, m); break;
    case MOUNT_SYMLINK: make_link(at, m->target, m->source); break;
    case MOUNT_DIR: add_directory(at, m); break;
    case MOUNT_TMPFS: add_tmpfs(at, m->target, m->mode, m->bytes, ATTR_PLAIN); break;
    case MOUNT_PROC: add_proc(at, spec, m->target); break;
    case MOUNT_DEV: add_devices(at, m->target); break;
    case MOUNT_FILE: add_file(at, m, number); break;
    case MOUNT_OWN: mount_over(at, look(AT_FDCWD, m->source, 0), m->target, ATTR_FROZEN); break;
    default: add_hidden(at, m->target, m->kind == MOUNT_HIDDEN_DIR);
    }
}

static int open_place(const char *path) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail_sys("open", path);
    return fd;
}

/* A root of our own, and beside it the directory that files are made in before they are bound. */
static struct places open_places(const struct machine_spec *spec) {
    static const char own[] = "/own";
    mkdir(MACHINE_ROOT, 0755);
    mkdir(own, 0700);
    if (mount("root", MACHINE_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=0755") < 0) fail_sys("mount", MACHINE_ROOT);
    if (mount("own", own, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=0700") < 0) fail_sys("mount", own);
    struct places at = {.root = open_place(MACHINE_ROOT), .base = open_place(MACHINE_BASE), .share = -1, .copied = -1, .here = open_place(own)};
    at.uid = spec->uid;
    at.gid = spec->gid;
    if (spec->share != NULL) at.share = open_place(MACHINE_SHARE);
    if (spec->copied_bytes > 0) at.copied = open_place(MACHINE_COPIED);
    int fd = openat(at.here, "hidden-file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (fd < 0 || mkdirat(at.here, "hidden-dir", 0) < 0) fail_sys("create", "hidden");
    close(fd);
    return at;
}

static void freeze(int root, const char *path) {
    static const struct k_mount_attr frozen = {.attr_set = K_ATTR_RDONLY};
    int fd = look(root, path, O_DIRECTORY);
    if (fd < 0 || k_mount_setattr(fd, 0, &frozen) < 0) fail_sys("mount_setattr", path);
    close(fd);
}

void machine_root(const struct machine_spec *spec) {
    static const char agent[] = ".glovebox/agent";
    fail_stage("root");
    struct places at = open_places(spec);
    for (size_t i = 0; i < spec->mount_count; i++) add_one(&at, spec, i);
    /* Last, so that no tree of the policy covers it. */
    mount_over(&at, open("/init", O_PATH | O_CLOEXEC), agent, ATTR_FROZEN);
    freeze(at.root, "dev");
    freeze(at.root, ".");
    close(at.root);
    close(at.base);
    close(at.here);
    if (at.share >= 0) close(at.share);
    if (at.copied >= 0) close(at.copied);
}

/* pivot_root(2) cannot leave the kernel's first root; what is moved over it hides it, and chroot(2) needs a capability to leave. */
void machine_enter_root(void) {
    static const char *const gone[] = {"/sys", MACHINE_BASE, MACHINE_SHARE, MACHINE_COPIED, "/own", "/cgroup", "/dev", "/proc"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (umount2(gone[i], MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT) fail_sys("umount", gone[i]);
    if (chdir(MACHINE_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0) fail_sys("move", MACHINE_ROOT);
    if (chroot(".") < 0 || chdir("/") < 0) fail_sys("chroot", NULL);
}
