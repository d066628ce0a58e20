#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "fail.h"
#include "finish.h"
#include "kernel.h"
#include "placeholder.h"
#include "resolve.h"

/* The parent directory of the first `length` bytes of a path; `name` gets the last component. -1 when it is gone. */
static int open_parent(int root, const char *path, size_t length, char name[256]) {
    char parent[4096];
    size_t cut = length;
    while (cut > 0 && path[cut - 1] != '/') cut--;
    snprintf(name, 256, "%.*s", (int)(length - cut), path + cut);
    if (cut >= sizeof parent) return -1;
    snprintf(parent, sizeof parent, "%.*s", (int)(cut == 0 ? 1 : cut - 1), cut == 0 ? "." : path);
    uint64_t how = K_RESOLVE_BENEATH | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_NO_MAGICLINKS;
    return k_openat2(root, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, how);
}

/* Removed markers that stay open until the process ends, so that whoever waits for the result need not wait for them. */
enum { KEPT_OPEN = 256 };

static int release_prefix(int root, const char *path, size_t length, struct release_counts *counts) {
    char name[256];
    int parent = open_parent(root, path, length, name);
    if (parent < 0) return 0;
    int ignored;
    int result = placeholder_release(parent, name, counts->removed < KEPT_OPEN ? &ignored : NULL);
    close(parent);
    if (result == 1) counts->removed++;
    if (result == -1) counts->kept++;
    return result;
}

static bool holds_something_real(int dir) {
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (list == NULL) return true;
    bool real = false;
    struct dirent *entry;
    while (!real && (entry = readdir(list)) != NULL) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        real = fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || marker_kind(&st) == 0;
    }
    closedir(list);
    return real;
}

/* A parent that the sandbox filled becomes an ordinary directory, unless another run still counts on the marker. */
static bool adopt_prefix(int root, const char *path, size_t length, uint32_t umask_bits) {
    char name[256];
    int parent = open_parent(root, path, length, name);
    if (parent < 0) return false;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(parent);
    if (fd < 0) return false;
    struct stat st;
    bool adopt = flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && marker_kind(&st) != 0 &&
                 holds_something_real(fd) && fchmod(fd, (0755 & ~umask_bits) | (st.st_mode & S_ISGID)) == 0;
    close(fd);
    return adopt;
}

/* Empties upwards: a parent can only go when what it was made for is gone. */
static void release_parents(int root, const char *path, struct release_counts *counts) {
    for (size_t n = strlen(path); n > 0; n--) {
        if (path[n] != '/') continue;
        if (release_prefix(root, path, n, counts) < 0) return;
    }
}

static void adopt_parents(int root, const char *path, uint32_t umask_bits, struct release_counts *counts) {
    for (size_t n = strlen(path); n > 0; n--)
        if (path[n] == '/' && adopt_prefix(root, path, n, umask_bits)) counts->adopted++;
}

void release_placeholders(const struct finish_spec *spec, struct release_counts *counts) {
    fail_stage("placeholder");
    for (int pass = 0; pass < 3; pass++) {
        int root = -1;
        for (size_t i = 0; i < spec->path_count; i++) {
            const struct finish_path *p = &spec->paths[i];
            if (root < 0 || p->root != spec->paths[i - 1].root) {
                if (root >= 0) close(root);
                root = resolve_root(spec->roots.items[p->root]);
            }
            if (root < 0) continue;
            if (pass == 0) release_prefix(root, p->path, strlen(p->path), counts);
            if (pass == 1) release_parents(root, p->path, counts);
            if (pass == 2) adopt_parents(root, p->path, spec->umask, counts);
        }
        if (root >= 0) close(root);
    }
}
