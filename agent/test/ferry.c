/* What carries a channel between a machine's port and a runtime's socket. Linked with unit.c. */
#include "../src/ferry.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/io.h"
#include "unit.h"

enum { ROUNDS = 40, BYTES = 100 * 1000 };

struct ends {
    int host, port, socket, guest;
};

static struct ends open_ends(void) {
    int outer[2], inner[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, outer) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, inner) == 0);
    CHECK(fcntl(outer[1], F_SETFL, O_NONBLOCK) == 0 && fcntl(inner[0], F_SETFL, O_NONBLOCK) == 0);
    return (struct ends){outer[0], outer[1], inner[0], inner[1]};
}

static void on_child(int signo) { (void)signo; }

/* A guest that gives back what it is told, until nothing comes any more. */
static pid_t start_echo(struct ends e) {
    static char data[4096];
    pid_t pid = fork();
    if (pid != 0) return pid;
    close(e.host);
    close(e.port);
    close(e.socket);
    for (ssize_t n; (n = read(e.guest, data, sizeof data)) > 0;)
        if (!write_all(e.guest, data, (size_t)n)) _exit(1);
    _exit(0);
}

/* A host that writes more at once than either side holds, reads it again, and leaves. */
static pid_t start_host(struct ends e) {
    static char sent[BYTES], got[BYTES];
    pid_t pid = fork();
    if (pid != 0) return pid;
    close(e.guest);
    close(e.port);
    close(e.socket);
    for (int round = 0; round < ROUNDS; round++) {
        memset(sent, round + 1, sizeof sent);
        if (!write_all(e.host, sent, sizeof sent) || !read_all(e.host, got, sizeof got)) _exit(1);
        if (memcmp(sent, got, sizeof sent) != 0) _exit(1);
    }
    _exit(0);
}

static void test_both_ways(void) {
    static struct ferry f;
    sigset_t set, before;
    struct sigaction act = {.sa_handler = on_child}, old;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigaction(SIGCHLD, &act, &old) == 0 && sigprocmask(SIG_BLOCK, &set, &before) == 0);
    struct ends e = open_ends();
    pid_t guest = start_echo(e), host = start_host(e);
    close(e.guest);
    close(e.host);
    ferry_begin(&f, e.port, e.socket);
    int told = 1, ended = 1;
    /* The host's end ends the guest. */
    for (pid_t pid = 0; pid != guest; pid = waitpid(guest, &ended, WNOHANG)) ferry_turn(&f);
    CHECK(waitpid(host, &told, 0) == host && told == 0 && ended == 0);
    CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0 && sigaction(SIGCHLD, &old, NULL) == 0);
    close(e.port);
    close(e.socket);
}

/* What a guest said before it ended arrives. */
static void test_last_words(void) {
    static struct ferry f;
    char got[16] = {0};
    struct ends e = open_ends();
    ferry_begin(&f, e.port, e.socket);
    CHECK(write_all(e.guest, "last words", 10));
    close(e.guest);
    ferry_finish(&f);
    CHECK(read_all(e.host, got, 10) && strcmp(got, "last words") == 0);
    close(e.host);
    close(e.port);
    close(e.socket);
}

void test_ferry(void) {
    signal(SIGPIPE, SIG_IGN);
    test_both_ways();
    test_last_words();
    signal(SIGPIPE, SIG_DFL);
}
