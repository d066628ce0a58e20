// Makes system calls that the filter decides about and prints "name errno" for each; 0 when it went through.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(name, ...)                                     \
    do {                                                   \
        errno = 0;                                         \
        long result = syscall(__VA_ARGS__);                \
        printf("%s %d\n", name, result < 0 ? errno : 0);   \
    } while (0)

// A child that the filter kills is reported by its signal.
static void try_x32(void) {
#ifdef __x86_64__
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        syscall(0x40000000 | SYS_getpid);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("x32 signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
#else
    printf("x32 signal %d\n", SIGSYS);
#endif
}

static void try_files(void) {
    int fd = open("probe-file", O_CREAT | O_RDWR, 0644);
    TRY("fchmod-0755", SYS_fchmod, fd, 0755);
    TRY("fchmod-setuid", SYS_fchmod, fd, 04755);
    TRY("fchmodat-setgid", SYS_fchmodat, AT_FDCWD, "probe-file", 02755);
    TRY("open-setuid", SYS_openat, AT_FDCWD, "probe-setuid", O_CREAT | O_RDWR, 04755);
    TRY("mknod-fifo", SYS_mknodat, AT_FDCWD, "probe-fifo", S_IFIFO | 0600, 0);
    TRY("mknod-device", SYS_mknodat, AT_FDCWD, "probe-device", S_IFCHR | 0600, 0x103);
    TRY("open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, NULL, 0);
}

static void try_sockets(void) {
    TRY("socket-unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    TRY("socket-tcp", SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TRY("socket-udp6", SYS_socket, AF_INET6, SOCK_DGRAM, 0);
    TRY("socket-route", SYS_socket, AF_NETLINK, SOCK_RAW, 0);
    TRY("socket-raw", SYS_socket, AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1);
    TRY("socket-packet", SYS_socket, AF_PACKET, SOCK_RAW, 0);
    TRY("socket-vsock", SYS_socket, 40, SOCK_STREAM, 0);
    TRY("socket-alg", SYS_socket, 38, SOCK_SEQPACKET, 0);
    TRY("socket-audit", SYS_socket, AF_NETLINK, SOCK_RAW, 9);
}

static void try_kernel(void) {
    TRY("bpf", SYS_bpf, 0, NULL, 0);
    TRY("perf_event_open", SYS_perf_event_open, NULL, 0, -1, -1, 0);
    TRY("userfaultfd", SYS_userfaultfd, 1);
    TRY("io_uring_setup", 425, 1, NULL);
    TRY("keyctl", SYS_keyctl, 0, -3, 0);
    TRY("add_key", SYS_add_key, "user", "a", "b", 1, -3);
    // PTRACE_ATTACH to a process that is not there: ESRCH when the filter lets it through.
    TRY("ptrace", SYS_ptrace, 16, 999999, 0, 0);
    TRY("process_vm_readv", SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
    TRY("unshare-user", SYS_unshare, CLONE_NEWUSER);
    TRY("unshare-files", SYS_unshare, CLONE_FILES);
    TRY("clone-user", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    TRY("clone3", 435, NULL, 0);
    TRY("setns", SYS_setns, -1, 0);
    TRY("mount", SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
    TRY("chroot", SYS_chroot, "/");
    TRY("syslog", SYS_syslog, 10, NULL, 0);
    TRY("unknown", 9999);
}

static void try_ioctl(void) {
    char byte = 'x';
    TRY("tiocsti", SYS_ioctl, 0, (unsigned long)0x5412, &byte);
    TRY("tiocsti-high", SYS_ioctl, 0, 0x100005412UL, &byte);
    TRY("tioclinux", SYS_ioctl, 0, (unsigned long)0x541c, &byte);
}

int main(void) {
    try_files();
    try_sockets();
    try_kernel();
    try_ioctl();
    try_x32();
    return 0;
}
