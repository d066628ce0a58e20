/* Asks for the process number by a native, an x32 or a 32-bit system call. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { X32 = 0x40000000, GETPID_32 = 20 };

static long by_int80(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(GETPID_32) : "memory");
    return result;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "native";
    long result;
    printf("trying\n");
    fflush(stdout);
    if (strcmp(how, "x32") == 0) result = syscall(X32 | SYS_getpid);
    else if (strcmp(how, "int80") == 0) result = by_int80();
    else result = syscall(SYS_getpid);
    printf("%s=%s\n", how, result > 0 ? "OK" : "refused");
    return result > 0 ? 0 : 1;
}
