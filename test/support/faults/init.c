/*
 * An agent that is the real one everywhere but as the first process of a machine: there it does what FAULT says. REAL is the path of
 * the real one, which becomes part of this program.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

__asm__(".section .rodata\n.global real_start\n.global real_end\nreal_start:\n.incbin \"" REAL "\"\nreal_end:\n.previous\n");
extern const char real_start[], real_end[];

enum { MODULE_COMPRESSED = 4, CHANNEL = 3 };
extern char **environ;

static int become_real(char **argv) {
    int fd = (int)syscall(SYS_memfd_create, "agent", 1u);
    for (const char *at = real_start; at < real_end;) {
        ssize_t n = write(fd, at, (size_t)(real_end - at));
        if (n <= 0) return 125;
        at += n;
    }
    syscall(SYS_execveat, fd, "", argv, environ, 0x1000);
    return 125;
}

static void devices(void) {
    char list[16384];
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    int fd = open("/modules", O_RDONLY);
    ssize_t n = read(fd, list, sizeof list - 1);
    close(fd);
    list[n < 0 ? 0 : n] = '\0';
    for (char *line = strtok(list, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int module = open(line, O_RDONLY);
        syscall(SYS_finit_module, module, "", strstr(line, ".ko.") != NULL ? MODULE_COMPRESSED : 0);
        close(module);
    }
}

static void write_often(const char *path, const char *what, size_t length, int times) {
    int fd = open(path, O_RDWR);
    while (times-- != 0 && write(fd, what, length) != 0) continue;
}

/* Whether the sandbox has got as far as a program of this name. */
static bool runs(const char *name) {
    char path[32], comm[32];
    for (int pid = 2; pid < 1000; pid++) {
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, comm, sizeof comm - 1);
        if (fd >= 0) close(fd);
        comm[n < 0 ? 0 : n] = '\0';
        if (strcmp(comm, name) == 0) return true;
    }
    return false;
}

/* The console is port 0 of the controller, the channel port 1. */
static void misbehave(char **argv) {
    static const char garbage[4096] = {'g', 'a', 'r', 'b', 'a', 'g', 'e'};
    static const char line[] = "the console is full of this, and never ends\n";
    if (strcmp(FAULT, "garbage") == 0) devices(), write_often("/dev/vport0p1", garbage, sizeof garbage, -1);
    if (strcmp(FAULT, "console") == 0) devices(), write_often("/dev/hvc0", line, sizeof line - 1, 2000), _exit(1);
    if (strcmp(FAULT, "die") == 0) devices(), _exit(1);
    if (strcmp(FAULT, "silent") == 0) reboot(RB_POWER_OFF);
    if (strcmp(FAULT, "stays") == 0 && (unshare(CLONE_NEWPID) < 0 || fork() != 0))
        for (;;) pause();
    if (strcmp(FAULT, "panic") == 0 && fork() == 0) {
        while (!runs("sleep\n")) usleep(200000);
        write_often("/proc/sysrq-trigger", "c", 1, -1);
    }
    become_real(argv);
}

int main(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "/init") == 0) misbehave(argv);
    return become_real(argv);
}
