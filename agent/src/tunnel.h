/*
 * IPv6 in a guest kernel whose loopback interface takes every IPv4 address for its own and no IPv6 address that it was not given.
 * All of IPv6 leads into a tunnel, and the agent at its other end sends each packet back, to the guest's own address: so it meets
 * the relay's listeners, or whatever listens in the guest, as an IPv4 packet does. No packet goes anywhere else.
 */
#ifndef GLOVEBOX_TUNNEL_H
#define GLOVEBOX_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The tunnel's other end, non-blocking; all of IPv6 but ::1 leads to it. Needs CAP_NET_ADMIN. -1 with errno. */
int tunnel_open(void);
/* Sends back what has come. */
void tunnel_packets(int fd);
/* Makes a packet of `len` bytes one to send back; false for one to drop. It may hold anything. */
bool tunnel_turn(uint8_t *packet, size_t len);
/* Where a connection that came through the tunnel was meant to go, in place of the address at which it arrived. */
void tunnel_destination(int client, struct sockaddr_storage *local);

#endif
