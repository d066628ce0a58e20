/*
 * What Firecracker shows of itself, as a program in its jail: the API on a unix socket, the vsock socket after InstanceStart. There is no machine:
 * whoever connects to port 1024 reaches the socket `test` of the same directory, where the test is the guest, and to port 1026 `test-files`. Each call is said on standard
 * output with its body. The id says what goes wrong: `refuse` (the call /vsock), `panic` and `exit` (after InstanceStart).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUEST = 64 * 1024, CHUNK = 16 * 1024 };

static const char *id = "";
static int api = -1, guest = -1;

static struct sockaddr_un address(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    return at;
}

static int listen_at(const char *path) {
    const struct sockaddr_un at = address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static int connect_to(const char *path) {
    const struct sockaddr_un at = address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0) return fd;
    printf("guest: %s: %s\n", path, strerror(errno));
    close(fd);
    return -1;
}

/* One request; its body, or NULL. */
static const char *read_request(int fd, char *text) {
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, text + len, REQUEST - 1 - len);
        if (n <= 0) return NULL;
        len += (size_t)n;
        text[len] = '\0';
        char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "content-length:");
        if (body != NULL && length != NULL && strlen(body + 4) >= strtoul(length + 15, NULL, 10)) return body + 4;
    }
}

static void start(void) {
    if (strcmp(id, "panic") == 0) printf("Kernel panic - not syncing: of the test\n");
    if (strcmp(id, "panic") == 0 || strcmp(id, "exit") == 0) exit(3);
    guest = listen_at("/sockets/guest");
    int relay = connect_to("/sockets/guest_1025");
    printf("guest: relay %s\n", relay < 0 ? "refused" : "reached");
    close(relay);
}

static void serve_api(void) {
    static char text[REQUEST];
    static const char ok[] = "HTTP/1.1 204 \r\nServer: Firecracker API\r\n\r\n", fault[] = "{\"fault_message\":\"not today\"}";
    int fd = accept(api, NULL, NULL);
    const char *body = read_request(fd, text);
    if (body != NULL) {
        bool refused = strcmp(id, "refuse") == 0 && strncmp(text, "PUT /vsock ", 11) == 0;
        printf("%.*s %s\n", (int)(strstr(text, " HTTP/") - text), text, body);
        if (refused) dprintf(fd, "HTTP/1.1 400 \r\nContent-Length: %zu\r\n\r\n%s", sizeof fault - 1, fault);
        else if (write(fd, ok, sizeof ok - 1) < 0) perror("answer");
        if (strstr(body, "InstanceStart") != NULL) start();
    }
    close(fd);
}

static bool carry(int from, int to) {
    char data[CHUNK];
    ssize_t n = read(from, data, sizeof data);
    return n > 0 && write(to, data, (size_t)n) == n;
}

/* Firecracker, docs/vsock.md: CONNECT and a port, answered by OK and the host's. Both ends, or false where nobody listens. */
static bool open_link(int link[2]) {
    char word[32] = "";
    int host = accept(guest, NULL, NULL);
    const char *path = read(host, word, sizeof word - 1) <= 0         ? NULL
                       : strcmp(word, "CONNECT 1024\n") == 0 ? "/sockets/test"
                       : strcmp(word, "CONNECT 1026\n") == 0 ? "/sockets/test-files"
                                                             : NULL;
    int inside = path == NULL ? -1 : connect_to(path);
    if (inside < 0) {
        close(host);
        return false;
    }
    dprintf(host, "OK 1073741824\n");
    link[0] = host;
    link[1] = inside;
    return true;
}

static void carry_link(int link[2], const struct pollfd sides[2]) {
    for (int i = 0; i < 2; i++) {
        if (link[i] < 0 || sides[i].revents == 0 || carry(link[i], link[1 - i])) continue;
        close(link[0]);
        close(link[1]);
        link[0] = link[1] = -1;
    }
}

/* The machine ends with its first connection, which is the guest's channel. */
static void serve_guest(void) {
    int links[2][2] = {{-1, -1}, {-1, -1}};
    if (!open_link(links[0])) return;
    while (links[0][0] >= 0) {
        struct pollfd sides[6] = {{.fd = api, .events = POLLIN}, {.fd = guest, .events = POLLIN}};
        for (int i = 0; i < 4; i++) sides[2 + i] = (struct pollfd){.fd = links[i / 2][i % 2], .events = POLLIN};
        poll(sides, 6, -1);
        if (sides[0].revents != 0) serve_api();
        if (sides[1].revents != 0) open_link(links[1]);
        for (int i = 0; i < 2; i++) carry_link(links[i], sides + 2 + 2 * i);
    }
    exit(0);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("Firecracker v1.13.0") < 0;
    if (argc != 5 || strcmp(argv[1], "--api-sock") != 0 || strcmp(argv[3], "--id") != 0) return 1;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    signal(SIGPIPE, SIG_IGN);
    id = argv[4];
    api = listen_at(argv[2]);
    for (;;) {
        struct pollfd doors[2] = {{.fd = api, .events = POLLIN}, {.fd = guest, .events = POLLIN}};
        poll(doors, 2, -1);
        if (doors[0].revents != 0) serve_api();
        if (doors[1].revents != 0) serve_guest();
    }
}
