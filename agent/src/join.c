#include "join.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

static bool is_tasks(const char *path) {
    const char *name = strrchr(path, '/');
    return name != NULL && strcmp(name, "/tasks") == 0;
}

/*
 * Moving a whole process waits for an RCU grace period, some ten milliseconds; moving the calling thread alone does not
 * (cgroup_procs_write_start, Linux 5.16). This stage has one thread only, so both are the same. Version 2 knows no groups of
 * threads unless asked to; there a child moves us meanwhile.
 */
pid_t begin_joining(const struct strings *files) {
    fail_stage("cgroup");
    size_t slow = 0;
    for (size_t i = 0; i < files->count; i++) {
        if (!is_tasks(files->items[i])) slow++;
        else if (!write_file(files->items[i], "0")) fail_sys("join", "tasks");
    }
    if (slow == 0) return 0;
    char self[16];
    snprintf(self, sizeof self, "%d", (int)getpid());
    pid_t child = fork();
    if (child < 0) fail_sys("fork", NULL);
    if (child > 0) return child;
    for (size_t i = 0; i < files->count; i++) {
        if (is_tasks(files->items[i])) continue;
        if (!write_file(files->items[i], self)) _exit(errno > 0 && errno < 128 ? errno : EIO);
    }
    _exit(0);
}

void finish_joining(pid_t child) {
    int status = 0;
    if (child == 0) return;
    fail_stage("cgroup");
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) fail_sys("waitpid", NULL);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    if (errno != 0) fail_sys("join", "cgroup.procs");
}
