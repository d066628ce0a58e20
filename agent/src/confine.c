#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "fail.h"
#include "proto.h"

/* landlock(7): the rights that may be given on something that is not a directory. */
enum {
    FS_ABI_1 = 0x1fff,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_IOCTL_DEV = 1 << 15,
    FS_FILE_RIGHTS = 0x7 | FS_TRUNCATE | FS_IOCTL_DEV,
};

uint32_t landlock_abi(void) {
    long abi = syscall(NR_LANDLOCK_CREATE_RULESET, NULL, 0, K_LANDLOCK_VERSION);
    return abi < 0 ? 0 : (uint32_t)abi;
}

static uint64_t fs_rights(uint32_t abi) {
    uint64_t rights = FS_ABI_1;
    if (abi >= 2) rights |= FS_REFER;
    if (abi >= 3) rights |= FS_TRUNCATE;
    if (abi >= 5) rights |= FS_IOCTL_DEV;
    return rights;
}

static void add_rule(int ruleset, const struct landlock_rule *rule, uint64_t handled) {
    struct stat st;
    int fd = open(rule->path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == EACCES) && (rule->flags & LANDLOCK_RULE_OPTIONAL) != 0) return;
    if (fd < 0 || fstat(fd, &st) < 0) fail_sys("open", rule->path);
    struct k_landlock_path path = {.allowed = rule->access & handled, .parent_fd = fd};
    if (!S_ISDIR(st.st_mode)) path.allowed &= FS_FILE_RIGHTS;
    if (path.allowed != 0 && syscall(NR_LANDLOCK_ADD_RULE, ruleset, K_LANDLOCK_RULE_PATH, &path, 0) < 0)
        fail_sys("landlock_add_rule", rule->path);
    close(fd);
}

static void apply_landlock(const struct boot_spec *spec, struct confinement *out) {
    fail_stage("landlock");
    out->landlock_abi = landlock_abi();
    if (spec->landlock_mode == LANDLOCK_OFF) return;
    if (out->landlock_abi == 0) {
        if (spec->landlock_mode == LANDLOCK_REQUIRED) fail_msg("landlock", NULL, "this kernel has no Landlock");
        return;
    }
    struct k_landlock_ruleset attr = {.handled_fs = fs_rights(out->landlock_abi)};
    if (out->landlock_abi >= 6) attr.scoped = K_LANDLOCK_SCOPE_ABSTRACT | K_LANDLOCK_SCOPE_SIGNAL;
    int ruleset = (int)syscall(NR_LANDLOCK_CREATE_RULESET, &attr, sizeof attr, 0);
    if (ruleset < 0) fail_sys("landlock_create_ruleset", NULL);
    for (size_t i = 0; i < spec->rule_count; i++) add_rule(ruleset, &spec->rules[i], attr.handled_fs);
    if (syscall(NR_LANDLOCK_RESTRICT_SELF, ruleset, 0) < 0) fail_sys("landlock_restrict_self", NULL);
    close(ruleset);
    out->flags |= HELLO_LANDLOCK;
}

/* capabilities(7). Without CAP_SETPCAP the bounding set stays; no_new_privs makes it harmless. */
static void drop_capabilities(struct confinement *out) {
    fail_stage("capabilities");
    bool bounded = true;
    for (int cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0) continue;
        /* The kernel knows no further ones. */
        if (errno == EINVAL) break;
        bounded = false;
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct k_cap_header header = {.version = K_CAP_VERSION_3};
    struct k_cap_data none[2] = {{0}, {0}};
    if (syscall(SYS_capset, &header, none) < 0) fail_sys("capset", NULL);
    if (bounded) out->flags |= HELLO_BOUNDING;
}

void confine(const struct boot_spec *spec, struct confinement *out) {
    /* The runtime of a guest kernel makes namespaces and mounts, below a user namespace that owns nothing of the host's; its file server opens files. */
    if ((spec->flags & BOOT_KEEP_CAPABILITIES) == 0) drop_capabilities(out);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) fail_sys("prctl", "PR_SET_DUMPABLE");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail_sys("prctl", "PR_SET_NO_NEW_PRIVS");
    apply_landlock(spec, out);
    fail_stage("seccomp");
    if (spec->filter_len == 0) return;
    struct k_sock_fprog program = {(unsigned short)spec->filter_len, spec->filter};
    if (syscall(SYS_seccomp, K_SECCOMP_SET_FILTER, 0, &program) < 0) fail_sys("seccomp", NULL);
    out->flags |= HELLO_SECCOMP;
}
