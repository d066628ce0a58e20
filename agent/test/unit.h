/* What the unit tests share. */
#ifndef GLOVEBOX_UNIT_H
#define GLOVEBOX_UNIT_H

#include <stdbool.h>

void check(bool ok, const char *what, const char *file, int line);
#define CHECK(x) check((x), #x, __FILE__, __LINE__)

/* copied.c */
void test_copied(void);
/* ferry.c */
void test_ferry(void);
/* machine.c */
void test_machine(void);
/* tunnel.c */
void test_tunnel(void);
/* work.c */
void test_work(void);

#endif
