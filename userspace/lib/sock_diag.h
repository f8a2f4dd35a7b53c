// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_SOCK_DIAG_H_
#define SOCKREPAIR_LIB_SOCK_DIAG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sockrepair/address.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// What sock_diag(7) tells of a bound UDP socket, besides what calls on the socket do.
struct DiagSocket {
  bool connected = false;
  Endpoint peer;  // also with port 0, which getpeername(2) does not tell
  bool receive_shutdown = false;
  bool send_shutdown = false;
  // How many sockets on the same port were bound before it and still are.
  std::uint32_t bound_before = 0;
};

// Looks among the UDP sockets of `domain` on `port` (host byte order) in the network namespace of
// the calling thread for the one with `cookie`, which has SO_REUSEPORT or not. Nothing if there is
// none; ENOENT, EPROTONOSUPPORT and the like when the kernel has no sock_diag for UDP.
Result<std::optional<DiagSocket>> find_udp_socket(int domain, std::uint16_t port,
                                                  std::uint64_t cookie, bool reuseport);

// What sock_diag(7) tells of TCP sockets, besides what calls on them do.
class TcpDiag {
 public:
  struct Socket {
    int domain = 0;
    std::uint8_t state = 0;
    Endpoint local;
    Endpoint peer;
    bool auto_port = false;  // the program did not choose it
    bool md5 = false;        // has TCP-MD5 keys; shown to CAP_NET_ADMIN only
    // Listeners: how many of the same domain on the same address and port began to listen earlier.
    std::uint32_t listening_before = 0;
  };

  // The TCP sockets of `domain` on `port` (host byte order, 0: any) in the network namespace of the
  // calling thread. ENOENT, EPROTONOSUPPORT and the like without sock_diag for TCP.
  static Result<TcpDiag> read(int domain, std::uint16_t port);

  // What read() would tell of the connection with these names and this cookie but for auto_port and
  // listening_before. Nothing: it is not found that way, a list may have it.
  static std::optional<Socket> find_connection(int domain, const Endpoint& local,
                                               const Endpoint& peer, std::uint64_t cookie);

  // nullptr: not listed. A closed socket is if it is bound, from Linux 6.8 on.
  const Socket* find(std::uint64_t cookie) const;
  // How many connections on `local` have not had the last segment of the handshake (SYN_RECV).
  std::size_t beginning(const Endpoint& local) const;

  // Those of another call as well.
  void merge(TcpDiag other);

 private:
  std::unordered_map<std::uint64_t, Socket> sockets_;
  std::vector<Endpoint> beginning_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_SOCK_DIAG_H_
