// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Somebody else's program in C++, with the installed headers and library and nothing more. Moves a
// UDP socket, takes a TCP socket from C++ to C and back, and exits with 0.

#include <netinet/in.h>
#include <stdio.h>

#include "sockrepair/bridge.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/udp_socket.h"

using namespace sockrepair;

namespace {

Result<Endpoint> move_a_socket(Endpoint& before) {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_DGRAM, 0);
  if (!fd) return fd.error();
  Endpoint loopback{IpAddress(in_addr{htonl(INADDR_LOOPBACK)}), 0, 0};
  Result<void> bound = sys::bind(fd->get(), SocketAddress(loopback, AF_INET));
  if (!bound) return bound.error();
  Result<UdpSocket> dump = dump_udp_socket(*fd);
  if (!dump) return dump.error();
  if (!dump->local) return Error{EPROTO, "no local address"};
  before = *dump->local;
  fd->reset();
  Result<RestoredSocket> restored = restore_udp_socket(*dump);
  if (!restored) return restored.error();
  Result<SocketAddress> name = sys::getsockname(restored->fd.get());
  if (!name) return name.error();
  return name->endpoint();
}

Result<bool> is_the_same_in_c() {
  Result<Fd> fd = sys::socket(AF_INET, SOCK_STREAM, 0);
  if (!fd) return fd.error();
  Result<TcpSocket> dump = dump_tcp_socket(*fd);
  if (!dump) return dump.error();
  sockrepair_tcp* object = to_c(*dump);
  bool same = sockrepair_tcp_domain(object) == AF_INET && from_c(*object) == *dump;
  sockrepair_tcp_free(object);
  return same;
}

}  // namespace

int main() {
  Result<bool> same = is_the_same_in_c();
  if (!same || !*same) {
    fprintf(stderr, "in C: %s\n", same ? "another socket" : same.error().describe().c_str());
    return 1;
  }
  Endpoint before;
  Result<Endpoint> after = move_a_socket(before);
  if (!after) {
    fprintf(stderr, "%s\n", after.error().describe().c_str());
    return 1;
  }
  printf("%s is %s\n", before.to_string().c_str(), after->to_string().c_str());
  return *after == before ? 0 : 1;
}
