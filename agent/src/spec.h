/* Specifications from the host: AIRLOCK_SPEC, BOOT, EXEC, FINISH_SPEC. Unknown tags and odd lengths are refused. */
#ifndef GLOVEBOX_SPEC_H
#define GLOVEBOX_SPEC_H

#include "io.h"
#include "kernel.h"

struct scratch_file {
    char *name;
    uint32_t mode;
    struct slice content;
};

/* Something of an assembled directory of the view. */
struct assembled {
    uint8_t kind;
    char *name;   /* below the scratch, no "." or ".." */
    char *source; /* absolute; NULL for a directory */
};

struct mask {
    uint8_t kind, expect;
    uint16_t flags;
    uint32_t root; /* index into roots */
    char *path;    /* below the root, no "." or ".." */
    uint8_t result;
};

struct listener {
    uint32_t id;
    uint8_t proto;
    uint16_t port;
};

struct listeners {
    struct listener *items;
    size_t count, cap;
};

struct airlock_spec {
    struct arena arena;
    uint32_t parent_pid;
    bool network;
    char *scratch;
    struct strings cgroups, roots, argv, env;
    struct scratch_file *files;
    size_t file_count, file_cap;
    struct assembled *assembled;
    size_t assembled_count, assembled_cap;
    struct mask *masks;
    size_t mask_count, mask_cap;
    struct listeners listeners;
};

struct rlimit_spec {
    uint32_t resource;
    uint64_t soft, hard;
};

struct rlimits {
    struct rlimit_spec *items;
    size_t count, cap;
};

struct verify {
    uint8_t kind;
    char *path;
    /* For an identity: statx(2). */
    uint64_t ino;
    uint32_t major, minor;
};

struct landlock_rule {
    uint64_t access;
    uint32_t flags;
    char *path;
};

struct exec_spec {
    struct arena arena;
    struct strings argv, env;
    char *cwd;
    uint8_t stdio[3];
    uint8_t channel; /* the number that our own standard output has in the command, besides; 0: none */
    uint16_t rows, cols;
    struct rlimits rlimits;
};

struct boot_spec {
    struct arena arena;
    uint8_t mode, landlock_mode;
    struct verify *verifies;
    size_t verify_count, verify_cap;
    struct landlock_rule *rules;
    size_t rule_count, rule_cap;
    struct k_sock_filter *filter;
    size_t filter_len;
    struct rlimits rlimits;
    struct slice exec;
    uint32_t flags; /* enum boot_flag */
    bool guest;     /* the first process of a guest kernel, with these ids */
    uint32_t uid, gid;
    char *relay;
    struct listeners listeners;
};

struct finish_path {
    uint32_t root;
    char *path;
};

struct finish_spec {
    struct arena arena;
    struct strings roots, patterns;
    struct finish_path *paths;
    size_t path_count, path_cap;
    uint32_t umask;
    char *scan_root, *memory;
    int64_t since_sec;
    uint32_t since_nsec;
    uint32_t max_results, max_entries, max_depth;
};

/* Each returns NULL, or what is wrong. The slices of a specification point into `payload`, which must outlive it. */
const char *airlock_parse(struct slice payload, struct airlock_spec *out);
const char *boot_parse(struct slice payload, struct boot_spec *out);
const char *exec_parse(struct slice payload, struct exec_spec *out);
const char *finish_parse(struct slice payload, struct finish_spec *out);

/* Appends a listener of eight bytes; false when it is none. */
bool listener_take(struct arena *a, struct listeners *list, struct slice v);

/* A relative path without empty, "." or ".." components. */
bool path_is_plain(const char *path);

#endif
