/* The airlock's network namespace: loopback, AnyIP routes, listeners. */
#ifndef GLOVEBOX_NET_H
#define GLOVEBOX_NET_H

#include <netinet/in.h>

#include "spec.h"

/* Brings the loopback interface up. False with errno. */
bool net_loopback_up(void);
/* Brings an interface up. False with errno. */
bool net_up(const char *name);
bool net_down(const char *name);
/* Makes every address of the family local (ip-route(8), type local). False with errno. */
bool net_any_ip(int family);
/* A bound socket for the listener; TCP sockets listen. -1 with errno. */
int net_listener(const struct listener *l, bool ipv6);
/* A bound UDP socket of one family only, which reports the address that each datagram was sent to. -1 with errno. */
int net_datagram(uint16_t port, int family);
/*
 * Gives the loopback interface two addresses whose subnets hold all of IPv4: gVisor's network stack takes every address of such a
 * subnet for its own, and has no local routes.
 */
bool net_every_address(void);
/* Give an interface an address with a subnet; what lies in it leads there. False with errno. */
bool net_add_ipv4(unsigned interface, struct in_addr address, uint8_t prefix_len);
bool net_add_ipv6(unsigned interface, const char *address, uint8_t prefix_len);
/* Hands every listener to the host over Node's IPC socket, then says that it is ready. Fails closed. */
void net_hand_over(const struct airlock_spec *spec, bool ipv6, int ipc);

#endif
